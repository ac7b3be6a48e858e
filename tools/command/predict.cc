#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string_view>
#include <utility>

#include "engine/data/class_name.h"
#include "engine/data/loader.h"
#include "engine/data/table/table.h"
#include "engine/train/predictor.h"
#include "models/recipe_keys.h"
#include "models/recipe_saved.h"
#include "models/recipe_series.h"
#include "models/recipe_text.h"
#include "tools/command/commands.h"
#include "tools/command/csv_output.h"
#include "tools/command/explain.h"
#include "tools/command/model_pictures.h"
#include "tools/command/run_folder.h"

namespace lockstep::inline v0_1::tools {
namespace {

// A line for the header, then one for each sample, as its predictions are to be read:
//   kPositive   class, the probability of the positive class
//   kOneOf      class, the probability of each class
//   kValues     the value, or values, each with its other quantiles
// With `top`: class, its probability, the next likely class, its probability, ...
// Files have their name in front, windows of a series the row that they end with, from 1.
class Writer {
 public:
  // `quantiles`: Loss::quantiles() of the network.
  Writer(const SavedModel& model, int64_t columns, std::span<const double> quantiles, int64_t top,
         const char* first)
      : reading_(ObjectiveOf(model.samples.task).reading),
        decision_(model.decision),
        delimiter_(OutputDelimiter(model)) {
    const std::vector<std::string>& names = model.samples.class_names;
    for (int64_t c = 0; c < ClassCount(model.samples); ++c) {
      names_.push_back(CsvField(ClassNameOf(names, c), delimiter_));
    }
    top_ = std::min(static_cast<size_t>(top), names_.size());
    if (*first != '\0') Field(first);
    if (reading_ == Reading::kValues) {
      StartValues(columns, quantiles);
    } else if (top_ > 0) {
      for (size_t i = 1; i <= top_; ++i) {
        const std::string place = i == 1 ? "" : " " + std::to_string(i);
        Field("class" + place);
        Field("probability" + place);
      }
    } else {
      Field("class");
      for (int64_t c = reading_ == Reading::kPositive ? 1 : 0; c < std::ssize(names_); ++c)
        Field(CsvField("probability of " + ClassNameOf(names, c), delimiter_));
    }
    EndLine();
  }

  void Add(std::span<const float> y, const std::string& first = "") {
    if (!first.empty()) Field(CsvField(first, delimiter_));
    if (top_ > 0) {
      AddTop(y);
    } else {
      if (const int64_t predicted = ClassOf(decision_, reading_, y); predicted >= 0)
        Field(names_[static_cast<size_t>(predicted)]);
      if (reading_ == Reading::kValues) {
        AddValues(y);
      } else {
        for (const float value : y) Field(fmt::to_string(value));
      }
    }
    EndLine();
  }

  const std::string& text() const { return out_; }

 private:
  void Field(std::string_view text) {
    if (!out_.empty() && out_.back() != '\n') out_ += delimiter_;
    out_ += text;
  }
  void EndLine() { out_ += '\n'; }

  // Of each target its value first, then its other quantiles.
  void StartValues(int64_t columns, std::span<const double> quantiles) {
    const std::vector<std::string> names = ValueNames(quantiles);
    const size_t median = PlaceOfMedian(quantiles);
    order_ = {median};
    for (size_t i = 0; i < names.size(); ++i) {
      if (i != median) order_.push_back(i);
    }
    const auto targets = static_cast<size_t>(columns) / names.size();
    for (size_t t = 0; t < targets; ++t) {
      for (const size_t i : order_)
        Field(CsvField(targets == 1 ? names[i] : names[i] + " " + std::to_string(t), delimiter_));
    }
  }
  void AddValues(std::span<const float> y) {
    for (size_t begin = 0; begin < y.size(); begin += order_.size()) {
      for (const size_t i : order_) Field(fmt::to_string(y[begin + i]));
    }
  }

  void AddTop(std::span<const float> y) {
    const bool positive = reading_ == Reading::kPositive;
    std::vector<std::pair<float, size_t>> classes;
    for (size_t c = 0; c < names_.size(); ++c)
      classes.emplace_back(!positive ? y[c] : c == 1 ? y[0] : 1.0f - y[0], c);
    // First what ClassOf says, then by probability; of equal ones the first.
    const auto predicted = static_cast<size_t>(ClassOf(decision_, reading_, y));
    std::partial_sort(classes.begin(), classes.begin() + static_cast<std::ptrdiff_t>(top_),
                      classes.end(), [&](const auto& a, const auto& b) {
                        if ((a.second == predicted) != (b.second == predicted))
                          return a.second == predicted;
                        return a.first > b.first || (a.first == b.first && a.second < b.second);
                      });
    for (size_t i = 0; i < top_; ++i) {
      Field(names_[classes[i].second]);
      Field(fmt::to_string(classes[i].first));
    }
  }

  Reading reading_;
  Decision decision_;
  char delimiter_;
  std::vector<std::string> names_;  // as fields
  std::vector<size_t> order_{};     // of the numbers of one value
  size_t top_ = 0;
  std::string out_;
};

// What is predicted for.
struct Samples {
  std::shared_ptr<const Dataset> dataset;
  std::shared_ptr<const PictureFiles> files;  // null for a table or an IDX file
  std::vector<int64_t> rows{};                // of a series, where each window ends
  bool scaled = false;                        // model.standardizer has been applied
};

Result<Samples> OpenSamples(const PredictArgs& args, const SavedModel& model) {
  Samples samples;
  if (!TakesPictures(model)) {
    const std::string& kind = model.recipe.data.kind;
    if (kind == "text_table") {
      LOCKSTEP_TRY_ASSIGN(samples.dataset,
                          DocumentsToPredict(model.recipe, model.samples, args.inputs[0]));
      return samples;
    }
    std::vector<std::string> remarks;
    if (kind == "series") {
      LOCKSTEP_TRY_ASSIGN(SeriesToPredict series, MomentsToPredict(model, args.inputs[0], remarks));
      samples.dataset = std::move(series.dataset);
      samples.rows = std::move(series.rows);
    } else {
      LOCKSTEP_TRY_ASSIGN(const auto description, DescriptionFor(model));
      LOCKSTEP_TRY_ASSIGN(const Table table, ReadTableFor(args.inputs[0], *description,
                                                          {.threads = CoresOf(model.recipe)}));
      remarks = table.remarks;
      LOCKSTEP_TRY_ASSIGN(samples.dataset, TableSamples(table, description));
      samples.scaled = true;
    }
    SayRemarks(args.inputs[0], remarks);
    return samples;
  }
  if (!AreFilesOrFolders(args.inputs)) {
    LOCKSTEP_TRY_ASSIGN(samples.dataset, IdxImagesFor(model, args.inputs[0]));
    return samples;
  }
  const int64_t channels = model.samples.x_shape[2];
  if (channels != 1 && channels != 3) {
    return Status::Invalid("the model takes pictures of " + std::to_string(channels) +
                           " channels, files have 1 or 3");
  }
  LOCKSTEP_TRY_ASSIGN(std::vector<std::string> paths, ListPictures(args.inputs));
  samples.files = std::make_shared<PictureFiles>(std::move(paths), channels);
  LOCKSTEP_TRY_ASSIGN(samples.dataset, PicturesFor(model, samples.files));
  return samples;
}

}  // namespace

Status Predict(const PredictArgs& args) {
  const std::string path = ModelFile(args.model);
  LOCKSTEP_TRY_ASSIGN(const SavedModel model, ReadSavedModel(path, args.overrides));
  if (args.top > 0 && ObjectiveOf(model.samples.task).reading == Reading::kValues)
    return Status::Invalid("--top is for models that tell classes apart, this one gives values");
  if (model.samples.target_shape.rank() > 0 && model.samples.x_dtype == DType::kI32 &&
      model.samples.task == Task::kClasses)
    return Status::Invalid(path + ": a model of language goes on with a text: use generate");
  if (!TakesPictures(model) && args.inputs.size() > 1) {
    return Status::Invalid(args.inputs[1] +
                           ": this model takes one table at a time, not several files");
  }
  if (!args.explain.empty() && args.top >= 0)
    return Status::Invalid("--explain says why a row is told what it is: without --top");
  if (!args.explain.empty()) return ExplainRows(args, path, model);
  LOCKSTEP_TRY_ASSIGN(const Samples samples, OpenSamples(args, model));
  const int64_t rows = samples.dataset->size();
  const int64_t batch = PredictionBatch(model, rows);

  Context ctx({.threads = static_cast<int>(model.recipe.train.threads)});
  Result<Network> built = BuildNetwork(ctx, model, batch);
  if (!built.ok()) return built.status().At(path);
  Network& network = *built;
  Result<Predictor> made = Predictor::Make(
      network, model.samples, samples.scaled ? std::optional<Standardizer>() : model.standardizer,
      model.decision);
  if (!made.ok()) return made.status().At(path);
  Predictor& predictor = *made;

  // Files are decoded ahead, by as many threads as there are cores: small networks wait for them.
  LoaderOptions options{.batch = batch, .shuffle = false};
  if (samples.files != nullptr) options.prefetch = 2, options.threads = ctx.threads();
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Loader> loader,
                      Loader::Make(samples.dataset, AllIndices(rows), options));
  const int64_t columns = network.output_shape().sample_size();
  std::vector<float> y(static_cast<size_t>(batch * columns));
  const int64_t top = args.top >= 0 ? args.top : samples.files != nullptr ? 1 : 0;
  const bool by_row = !samples.rows.empty();
  Writer writer(model, columns, network.loss()->quantiles(), top,
                samples.files != nullptr ? "picture"
                : by_row                 ? "row"
                                         : "");
  int64_t bad = 0;
  for (;;) {
    LOCKSTEP_TRY_ASSIGN(const Batch* const part, loader->Next());
    if (part == nullptr) break;
    LOCKSTEP_TRY(
        predictor.Run(part->x, Tensor(y.data(), network.output_shape().WithBatch(part->count))));
    for (int64_t i = 0; i < part->count; ++i) {
      const auto said =
          std::span(y).subspan(static_cast<size_t>(i * columns), static_cast<size_t>(columns));
      if (samples.files == nullptr) {
        const auto window = static_cast<size_t>(part->indices[static_cast<size_t>(i)]);
        writer.Add(said, by_row ? std::to_string(samples.rows[window] + 1) : "");
        continue;
      }
      const int64_t file = part->indices[static_cast<size_t>(i)];
      const Status& status = samples.files->status(file);
      if (status.ok()) {
        writer.Add(said, samples.files->path(file));
      } else {
        ++bad;
        std::fprintf(stderr, "lockstep: %s\n", status.message().c_str());
      }
    }
  }
  LOCKSTEP_TRY(WriteOrPrint(args.output, writer.text(), "the predictions"));
  if (bad == 0) return Status::Ok();
  return Status::Invalid(
      fmt::format("{} of {} pictures could not be read, the others are predicted", bad, rows));
}

}  // namespace lockstep::tools
