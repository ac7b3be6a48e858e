#include "models/recipe_series.h"

#include <utility>

#include "models/recipe_keys.h"
#include "models/recipe_table.h"

namespace lockstep::inline v0_1 {
namespace {

Result<SeriesOptions> SeriesOptionsOf(const Recipe& recipe) {
  const Recipe::Data& data = recipe.data;
  SeriesOptions options{.target = CsvColumnFrom(data.label),
                        .positive = data.positive,
                        .more_missing = data.missing_texts,
                        .threads = CoresOf(recipe)};
  LOCKSTEP_TRY_ASSIGN(options.dialect, DialectOf(data));
  if (data.task != "auto") {
    LOCKSTEP_TRY_ASSIGN(options.task, TaskNamed(data.task));
  }
  if (data.missing != "error" && data.missing != "mean") {
    return Status::Invalid("data.missing = \"" + data.missing +
                           "\" is for tables (drop would tear a series): with data.kind = "
                           "\"series\" it is error or mean");
  }
  options.allow_missing = data.missing == "mean";
  if (!data.group.empty()) options.group = CsvColumnFrom(data.group);
  for (const std::string& column : data.ignore) options.ignored.push_back(CsvColumnFrom(column));
  return options;
}

}  // namespace

Result<SeriesSources> ReadSeriesSources(const Recipe& recipe, const SavedSamples& saved) {
  const Recipe::Data& data = recipe.data;
  LOCKSTEP_TRY_ASSIGN(SeriesOptions options, SeriesOptionsOf(recipe));
  options.trained = saved.columns;
  options.classes = saved.classes;
  LOCKSTEP_TRY_ASSIGN(Series series, Under("data.path", LoadSeries(data.path, options)));
  if (options.trained.empty()) options.trained = series.columns;
  options.classes = series.classes;
  const bool has_test = !data.test_path.empty();
  SeriesSources sources{.train = nullptr, .remarks = series.remarks};
  LOCKSTEP_TRY_ASSIGN(SeriesData made,
                      MakeSeriesData(std::move(series), {.context = data.context,
                                                         .horizon = data.horizon,
                                                         .validation = data.validation,
                                                         .test = has_test ? 0.0 : data.test}));
  sources.train = std::move(made.dataset);
  sources.splits = std::move(made.splits);
  if (made.short_groups > 0) {
    sources.remarks.push_back(data.path + ": " + std::to_string(made.short_groups) +
                              " groups are too short for a window of data.context = " +
                              std::to_string(data.context) + " to train on");
  }
  if (!has_test) return sources;
  LOCKSTEP_TRY_ASSIGN(Series test, Under("data.test_path", LoadSeries(data.test_path, options)));
  for (const std::string& remark : test.remarks)
    sources.remarks.push_back(data.test_path + ": " + remark);
  LOCKSTEP_TRY_ASSIGN(
      SeriesData tested,
      MakeSeriesData(std::move(test), {.context = data.context, .horizon = data.horizon}));
  sources.test = std::move(tested.dataset);
  return sources;
}

Result<SeriesToPredict> MomentsToPredict(const SavedModel& model, const std::string& path,
                                         std::vector<std::string>& remarks) {
  LOCKSTEP_TRY_ASSIGN(SeriesOptions options, SeriesOptionsOf(model.recipe));
  options.task = model.samples.task;
  options.trained = TrainedColumns(model);
  options.unlabelled = true;
  options.allow_missing = options.allow_missing && model.standardizer;
  LOCKSTEP_TRY_ASSIGN(Series series, LoadSeries(path, options));
  remarks = series.remarks;
  return MakeSeriesToPredict(std::move(series), model.samples.x_shape[0]);
}

}  // namespace lockstep
