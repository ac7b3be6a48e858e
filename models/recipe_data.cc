// From a recipe's [data] to samples: read or made, split and standardised.
#include <algorithm>

#include "engine/data/builtin/digits.h"
#include "engine/data/builtin/sums.h"
#include "engine/data/image/class_numbers.h"
#include "engine/data/image/idx.h"
#include "engine/data/image/npy_pictures.h"
#include "engine/data/split.h"
#include "models/recipe_keys.h"
#include "models/recipe_pictures.h"
#include "models/recipe_series.h"
#include "models/recipe_split.h"
#include "models/recipe_table.h"
#include "models/recipe_text.h"

namespace lockstep::inline v0_1 {
namespace {

// Training and test sets as they come; `test` is null where the samples are to be split.
struct Sources {
  std::shared_ptr<const Dataset> train, test;
  std::optional<ClinicalData> clinical{};
  bool tabular = true;
  std::optional<Splits> splits{};  // of train; else as SplitSamples says
  std::vector<std::string> remarks{};
  std::optional<PictureSources> pictures{};  // instead of all that
  std::optional<RecipeData> ready{};         // instead of all that
  bool by_keys = false;                      // `ready` was split by the recipe's keys for that
};

Result<Sources> Clinical(const Recipe& recipe) {
  const Recipe::Data& data = recipe.data;
  ClinicalOptions options{.seed = static_cast<uint64_t>(data.seed)};
  if (data.size > 0) options.size = data.size;
  LOCKSTEP_TRY_ASSIGN(ClinicalData clinical, MakeClinical(options));
  std::shared_ptr<const Dataset> samples = clinical.dataset;
  return Sources{.train = std::move(samples), .test = nullptr, .clinical = std::move(clinical)};
}

ByteScale PixelScale(const Recipe::Data& data) {
  return ByteScale::Standardized(data.pixel_mean, data.pixel_sd);
}

// Pictures held as bytes: as they are, or through what [augment] says of them.
Result<Sources> BytesOrPictures(const Recipe& recipe, std::shared_ptr<const InMemoryDataset> train,
                                std::shared_ptr<const InMemoryDataset> test) {
  Sources sources{.train = nullptr, .test = nullptr, .tabular = false};
  if (!ChangesPictures(recipe)) {
    sources.train = std::move(train);
    sources.test = std::move(test);
    return sources;
  }
  PictureSources pictures;
  LOCKSTEP_TRY_ASSIGN(pictures.train, MemoryPictures(std::move(train)));
  if (test != nullptr) {
    LOCKSTEP_TRY_ASSIGN(pictures.test, MemoryPictures(std::move(test)));
  }
  sources.pictures = std::move(pictures);
  return sources;
}

void Tell(const std::string& remark, Sources& sources) {
  if (remark.empty()) return;
  (sources.pictures ? sources.pictures->remarks : sources.remarks).push_back(remark);
}

Result<Sources> Digits(const Recipe& recipe) {
  const Recipe::Data& data = recipe.data;
  DigitsOptions options{.seed = static_cast<uint64_t>(data.seed), .byte_scale = PixelScale(data)};
  if (data.size > 0) {
    options.train = data.size;
    options.test = std::max<int64_t>(1, data.size / 5);
  }
  LOCKSTEP_TRY_ASSIGN(const DigitsData digits, MakeDigits(options));
  return BytesOrPictures(recipe, digits.train, digits.test);
}

Result<Sources> Mnist(const Recipe& recipe) {
  LOCKSTEP_TRY_ASSIGN(const MnistData mnist,
                      Under("data.path", LoadMnist(recipe.data.path, PixelScale(recipe.data))));
  LOCKSTEP_TRY_ASSIGN(Sources sources, BytesOrPictures(recipe, mnist.train, mnist.test));
  Tell(mnist.remark, sources);
  return sources;
}

Result<Sources> Npy(const Recipe& recipe) {
  const Recipe::Data& data = recipe.data;
  if (data.label_path.empty()) {
    return Status::Invalid(
        "data.kind = \"npy\" needs data.label_path beside data.path: the file of "
        "labels");
  }
  LOCKSTEP_TRY_ASSIGN(auto pictures,
                      Under("data.path, data.label_path",
                            LoadNpyPictures(data.path, data.label_path, PixelScale(data))));
  if (pictures->info().classes < 2) {
    return Status::Invalid(data.label_path +
                           " (data.label_path) holds one class: to tell classes "
                           "apart, it needs two or more");
  }
  const std::string remark = ClassNumbersRemark(pictures->info().class_names, data.label_path);
  LOCKSTEP_TRY_ASSIGN(Sources sources, BytesOrPictures(recipe, std::move(pictures), nullptr));
  Tell(remark, sources);
  return sources;
}

template <Result<PictureSources> (*kOpen)(const Recipe&)>
Result<Sources> Pictures(const Recipe& recipe) {
  LOCKSTEP_TRY_ASSIGN(PictureSources pictures, kOpen(recipe));
  return Sources{
      .train = nullptr, .test = nullptr, .tabular = false, .pictures = std::move(pictures)};
}

constexpr Choice<std::optional<bool>> kHeaders[] = {
    {"auto", std::nullopt}, {"yes", true}, {"no", false}};
constexpr char kAuto[] = "auto";

Result<Sources> SeriesOf(const Recipe& recipe, SavedSamples saved) {
  LOCKSTEP_TRY_ASSIGN(SeriesSources series, ReadSeriesSources(recipe, saved));
  return Sources{.train = std::move(series.train),
                 .test = std::move(series.test),
                 .splits = std::move(series.splits),
                 .remarks = std::move(series.remarks)};
}

Result<Sources> Sums(const Recipe& recipe) {
  LOCKSTEP_TRY_ASSIGN(const SumsData sums,
                      MakeSums({.seed = static_cast<uint64_t>(recipe.data.seed),
                                .digits = static_cast<int>(recipe.data.digits)}));
  return Sources{.train = sums.train, .test = sums.test, .tabular = false};
}

template <Result<RecipeData> (*kRead)(const Recipe&, std::shared_ptr<const Tokenizer>)>
Result<Sources> Ready(const Recipe& recipe, SavedSamples saved) {
  LOCKSTEP_TRY_ASSIGN(RecipeData data, kRead(recipe, std::move(saved.tokenizer)));
  return Sources{.train = nullptr, .test = nullptr, .ready = std::move(data)};
}

Result<Sources> Csv(const Recipe& recipe, SavedSamples saved) {
  LOCKSTEP_TRY_ASSIGN(RecipeData data, TableData(recipe, std::move(saved.table), saved.progress));
  return Sources{.train = nullptr, .test = nullptr, .ready = std::move(data), .by_keys = true};
}

Result<Sources> TextTableOf(const Recipe& recipe, SavedSamples saved) {
  LOCKSTEP_TRY_ASSIGN(TextTables tables, TextTableSources(recipe, std::move(saved.tokenizer)));
  return Sources{.train = std::move(tables.train),
                 .test = std::move(tables.test),
                 .tabular = false,
                 .remarks = std::move(tables.remarks)};
}

struct DataKind {
  Result<Sources> (*load)(const Recipe& recipe);
  bool reads_files;
  Result<Sources> (*load_saved)(const Recipe& recipe, SavedSamples saved) = nullptr;
};
constexpr Choice<DataKind> kDataKinds[] = {{"clinical", {Clinical, false}},
                                           {"digits", {Digits, false}},
                                           {"csv", {nullptr, true, Csv}},
                                           {"mnist", {Mnist, true}},
                                           {"npy", {Npy, true}},
                                           {"cifar10", {Pictures<Cifar10Sources>, true}},
                                           {"images", {Pictures<FolderSources>, true}},
                                           {"text", {nullptr, true, Ready<TextData>}},
                                           {"tokens", {nullptr, true, Ready<TokenData>}},
                                           {"text_table", {nullptr, true, TextTableOf}},
                                           {"series", {nullptr, true, SeriesOf}},
                                           {"sums", {Sums, false}}};

// With data.folds a fold is the test set.
void HoldBackFolds(const Recipe::Data& data, Sources& sources) {
  if (data.folds == 0) return;
  const bool has_test =
      sources.test != nullptr || (sources.pictures && sources.pictures->test != nullptr);
  for (std::string& remark : FoldRemarks(data, has_test))
    sources.remarks.push_back(std::move(remark));
  sources.test = nullptr;
  if (sources.pictures) sources.pictures->test = nullptr;
}

}  // namespace

KeyLimits DataKinds() { return OneOf(kDataKinds); }
KeyLimits CsvHeaders() { return OneOf(kHeaders); }
KeyLimits CsvTasks() {
  KeyLimits limits{.choices = {kAuto}};
  for (const Objective& one : Objectives()) limits.choices.emplace_back(one.name);
  return limits;
}

bool TakesTestPath(const std::string& kind) {
  constexpr std::string_view kKinds[] = {"csv", "images", "text", "tokens", "text_table", "series"};
  return std::find(std::begin(kKinds), std::end(kKinds), kind) != std::end(kKinds);
}

bool ReadsFiles(const Recipe::Data& data) {
  const Result<DataKind> kind = Chosen("data.kind", kDataKinds, data.kind);
  return kind.ok() && kind->reads_files;
}

Result<Task> TaskNamed(const std::string& name) {
  const Objective* const objective = ObjectiveNamed(name);
  if (objective == nullptr) return UnknownChoice(name, CsvTasks().choices).At("data.task");
  return Task(objective->task);
}

Result<std::optional<bool>> CsvHeaderOf(const Recipe::Data& data) {
  return Chosen("data.header", kHeaders, data.header);
}

char DelimiterOf(const Recipe::Data& data) {
  const Result<std::optional<char>> letter = LetterOf("data.delimiter", data.delimiter);
  return letter.ok() ? letter->value_or(',') : ',';
}

Result<RecipeData> LoadData(const Recipe& recipe, SavedSamples saved) {
  std::optional<Standardizer> standardizer = saved.standardizer;
  LOCKSTEP_TRY_ASSIGN(const DataKind kind, Chosen("data.kind", kDataKinds, recipe.data.kind));
  if (!recipe.data.test_path.empty() && !TakesTestPath(recipe.data.kind)) {
    return Status::Invalid(
        "data.kind = \"" + recipe.data.kind +
        "\" has no data.test_path; leave it out: what there is to test with comes "
        "with the set, or is held back of it, as data.test=0.2 says");
  }
  LOCKSTEP_TRY_ASSIGN(Sources sources, kind.load_saved != nullptr
                                           ? kind.load_saved(recipe, std::move(saved))
                                           : kind.load(recipe));
  if (!sources.by_keys) {
    LOCKSTEP_TRY(CheckSplitKind(recipe.data, sources.splits || sources.ready, {}));
    HoldBackFolds(recipe.data, sources);
  }
  if (sources.pictures) {
    const PictureSources& pictures = *sources.pictures;
    Recipe::Data shares = recipe.data;
    if (pictures.validation != nullptr) shares.validation = 0.0;
    const std::vector<int32_t>& labels = pictures.train->info().labels;
    LOCKSTEP_TRY_ASSIGN(Splits splits, SplitSamples(std::ssize(labels), {.classes = labels}, shares,
                                                    pictures.test != nullptr));
    LOCKSTEP_TRY_ASSIGN(RecipeData data,
                        PictureData(recipe, pictures, std::move(splits), std::move(standardizer)));
    data.remarks.insert(data.remarks.begin(), sources.remarks.begin(), sources.remarks.end());
    return data;
  }
  if (ChangesPictures(recipe)) {
    return Status::Invalid(
        "[augment], data.picture_size and data.channels are for pictures, which "
        "data.kind = \"" +
        recipe.data.kind + "\" has none of; leave them out");
  }
  if (sources.ready) return std::move(*sources.ready);
  if (!sources.splits) {
    LOCKSTEP_TRY_ASSIGN(const SplitKeys keys, ClassKeys(*sources.train));
    LOCKSTEP_TRY_ASSIGN(sources.splits, SplitSamples(sources.train->size(), keys, recipe.data,
                                                     sources.test != nullptr));
  }
  Splits& splits = *sources.splits;
  RecipeData data{.train = {}, .validation = {}, .test = {}, .remarks = sources.remarks};
  if (sources.clinical && !splits.test.empty()) {
    LOCKSTEP_TRY_ASSIGN(data.best_test, BestPossibleScores(*sources.clinical, splits.test));
  }
  if (sources.tabular && (recipe.data.standardize || sources.train->info().has_missing)) {
    if (!standardizer) {
      LOCKSTEP_TRY_ASSIGN(standardizer, Standardizer::Measure(*sources.train, splits.train));
    }
    data.standardizer = standardizer;
    LOCKSTEP_TRY_ASSIGN(sources.train, Standardized(sources.train, *standardizer));
    if (sources.test != nullptr) {
      LOCKSTEP_TRY_ASSIGN(sources.test, Standardized(sources.test, *standardizer));
    }
  }
  data.train = {sources.train, std::move(splits.train)};
  data.train_unchanged = data.train;
  data.validation = {sources.train, std::move(splits.validation)};
  if (sources.test != nullptr) {
    data.test = {sources.test, AllIndices(sources.test->size())};
  } else {
    data.test = {sources.train, std::move(splits.test)};
  }
  return data;
}

}  // namespace lockstep
