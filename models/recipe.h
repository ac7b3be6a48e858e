// A recipe says everything that decides a run: data, model, loss, optimizer, schedule, training. It
// is a TOML file, with overrides from the command line; models/recipes/ holds examples,
// recipe_keys.h the list of all keys, and recipe_family.h the families of networks with theirs.
#ifndef LOCKSTEP_MODELS_RECIPE_H_
#define LOCKSTEP_MODELS_RECIPE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/builtin/clinical.h"
#include "engine/data/loader.h"
#include "engine/data/table/standardize.h"
#include "engine/data/table/table_description.h"
#include "engine/optim/optimizer.h"
#include "engine/train/assess/assessment.h"
#include "engine/train/evaluate.h"
#include "engine/train/network.h"
#include "engine/train/trainer.h"
#include "models/recipe_family.h"

namespace lockstep::inline v0_1 {

// Defaults are what a recipe that does not name the key gets. Meanings: recipe_keys.h.
struct Recipe {
  struct Data {
    std::string kind = "clinical";
    std::string path{};
    std::string test_path{};
    std::string label = "-1";
    std::vector<std::string> ignore{};
    std::string header = "auto";
    std::string delimiter = "auto";
    std::string task = "auto";
    std::string positive{};
    std::string missing = "error";
    std::vector<std::string> missing_texts{};
    std::vector<std::string> types{};
    int64_t one_hot = 32;
    std::string encoding = "auto";
    std::string quote = "auto";
    std::string comment = "auto";
    std::string decimal = "auto";
    std::string thousands = "auto";
    std::string weight{};
    std::string time{};
    bool cache = false;
    std::string cache_folder{};
    int64_t size = 0;
    int64_t seed = 1;
    double validation = 0.15;
    double test = 0.15;
    std::string split = "random";
    int64_t folds = 0;
    int64_t fold = 0;
    int64_t split_seed = 1;
    std::vector<std::string> subgroups{};
    bool standardize = true;
    double pixel_mean = 0.0;
    double pixel_sd = 1.0;
    std::string label_path{};
    std::vector<double> mean{};
    std::vector<double> sd{};
    int64_t picture_size = 0;
    std::string fit = "crop";
    int64_t shorter_side = 0;
    int64_t channels = 0;
    std::string bad = "error";
    int64_t cache_mb = 256;
    int64_t prefetch = -1;
    std::string tokenizer = "auto";
    std::string tokenizer_path{};
    int64_t context = 128;
    int64_t windows = 0;
    int64_t vocabulary = 0;
    std::string text = "0";
    int64_t horizon = 1;
    std::string group{};
    int64_t digits = 2;
  } data;
  struct Augment {
    std::string crop = "centre";
    int64_t pad = 0;
    std::string edge = "fill";
    double scale_low = 0.08;
    double scale_high = 1.0;
    double flip = 0.0;
    double vertical_flip = 0.0;
    double rotation = 0.0;
    double brightness = 0.0;
    double contrast = 0.0;
    int64_t cutout = 0;
    double mixup = 0.0;
  } augment;
  struct Model {
    Family family{};  // which one model.kind says, and its keys
    std::string weights{};
    std::vector<std::string> freeze{};
  } model;
  struct Loss {
    std::string kind = "auto";
    double label_smoothing = 0.0;
    std::vector<double> class_weights{};
    double pos_weight = 1.0;
    bool balanced = false;
    double delta = 1.0;
    std::vector<double> quantiles = {0.05, 0.5, 0.95};
  } loss;
  struct Optim {
    std::string kind = "adamw";
    double learning_rate = 1e-3;
    double weight_decay = 0.01;
    bool decay_all = false;
    double momentum = 0.9;
    bool nesterov = false;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double clip_norm = 0.0;
  } optimizer;
  struct Schedule {
    std::string kind = "constant";
    double warmup_epochs = 0.0;
    double floor = 0.0;
    double step_epochs = 10.0;
    double gamma = 0.1;
    double peak = 0.3;
  } schedule;
  struct Train {
    int64_t epochs = 20;
    int64_t batch = 32;
    std::string last_batch = "keep";
    int64_t micro_batches = 1;
    int64_t seed = 1;
    std::vector<int64_t> seeds{};
    int64_t shards = 1;
    int64_t threads = 0;
    double give_up_after = 600.0;
    std::string wire = "f32";
    int64_t evaluate_every = 1;
    std::string monitor = "loss";
    int64_t patience = 0;
    bool keep_best = true;
    double ema_decay = 0.0;
    std::string calibrate = "none";
    std::string threshold = "half";
    double false_negative_cost = 1.0;
    double recall = 0.95;
  } train;
  struct Output {
    std::string folder{};
    double checkpoint_seconds = 60.0;
    int64_t keep_checkpoints = 2;
    bool histograms = false;
    bool report = true;
  } output;
};

// Reads a recipe file and applies overrides "key=value" (the value as TOML; bare words count as
// strings). An unknown key is an error that names the nearest known one; so is a value of the wrong
// type or out of range. Errors name file and line.
Result<Recipe> LoadRecipe(const std::string& path, std::span<const std::string> overrides = {});
// The same from text; `name` stands for the file in messages, and relative data paths are taken as
// they are.
Result<Recipe> ParseRecipe(const std::string& text, const std::string& name,
                           std::span<const std::string> overrides = {});
// A recipe file with every key: its value in `recipe` and what it means. Reads back to the same
// recipe.
std::string PrintRecipe(const Recipe& recipe);

// The keys in which two recipes differ, with their values as PrintRecipe writes them.
struct RecipeDifference {
  std::string key, left, right;
};
std::vector<RecipeDifference> Differences(const Recipe& left, const Recipe& right);

// Whether the data are read from data.path.
bool ReadsFiles(const Recipe::Data& data);

// The data of a recipe, split and standardised.
struct RecipeData {
  Subset train, validation, test;
  // The training samples as evaluation sees them: nothing is changed at random.
  Subset train_unchanged{};
  std::optional<Standardizer> standardizer{};
  std::optional<BestPossible> best_test{};  // where the data were made from known probabilities
  std::vector<std::string> remarks{};       // what the user should be told, a line each
  // By data.subgroups: of the samples of train.dataset, and of test.dataset where that is another.
  std::vector<Subgroup> subgroups{}, test_subgroups{};
};
// Those of `subset`, which is one of the data's.
const std::vector<Subgroup>& SubgroupsOf(const RecipeData& data, const Subset& subset);
// What a trained model brings of the data it was trained on, in the place of what would be measured
// or chosen anew.
struct SavedSamples {
  std::optional<Standardizer> standardizer{};
  std::shared_ptr<const Tokenizer> tokenizer{};
  std::shared_ptr<const TableDescription> table{};
  // Of a series: the columns trained on, with names and roles, and the labels.
  std::vector<TableColumn> columns{};
  std::vector<std::string> classes{};
  // Not of the model: who is told, now and then, what share of a large table has been read.
  std::function<void(double share)> progress{};
};
Result<RecipeData> LoadData(const Recipe& recipe, SavedSamples saved = {});

// The network for samples as `info` describes them, bound for `batch` samples at a time (in this
// process).
Result<Network> BuildNetwork(Context& ctx, const Recipe& recipe, const DatasetInfo& info,
                             int64_t batch, bool training = true,
                             Communicator* communicator = nullptr, int64_t evaluation_batch = 0);
// How many samples are evaluated at a time in training on batches of `batch` in all, the same on
// any number of ranks: the last bits of a loss depend on it.
int64_t EvaluationBatch(const Recipe& recipe, int64_t batch);
// Replaces the initial weights by those in model.weights, where that names a file, or a run folder
// for the model in it; see ImportForNewTask in engine/train/weight_files.h. The result is what the
// user should be told, a line each: that the last layer begins anew, what was made good.
Result<std::vector<std::string>> StartFromWeights(const Recipe& recipe, Network& network);
Result<std::unique_ptr<Optimizer>> BuildOptimizer(const Recipe& recipe);
Result<LoaderOptions> BuildLoaderOptions(const Recipe& recipe);
// Everything but validation data, observer and recipe text. `batches` is the number of batches in
// an epoch. `remarks` takes what the user should be told (null: nobody is): of a warm-up that would
// not end within the run half the run is left.
Result<TrainerOptions> BuildTrainerOptions(const Recipe& recipe, int64_t batches,
                                           std::vector<std::string>* remarks = nullptr);
// What a layer says to the batches that an epoch has, the last one among them, before it has taken
// an hour to come to that: a batch norm refuses a batch of one. An error names the keys.
Status CheckBatches(const Recipe& recipe, const Network& network, const Loader& loader);

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECIPE_H_
