// Tables as people have them, each trained with one recipe and at most two keys of its own, on the
// real data where they are at hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/train/trainer.h"
#include "models/recipe.h"
#include "tests/engine/data/data_files.h"

namespace lockstep {
namespace {

// What the test rows say of a run: averaged over runs of another split and seed each.
struct Score {
  double auc = 0.0, accuracy = 0.0, trivial_accuracy = 0.0, r2 = 0.0;
};

Result<Score> TrainAndTest(const std::string& path, std::vector<std::string> keys, int seed) {
  keys.push_back("data.path=" + path);
  keys.push_back("data.split_seed=" + std::to_string(seed));
  keys.push_back("train.seed=" + std::to_string(seed));
  keys.push_back("data.validation=0");
  keys.push_back("data.test=0.25");
  keys.push_back("train.batch=32");
  LOCKSTEP_TRY_ASSIGN(const Recipe recipe,
                      LoadRecipe(LOCKSTEP_SOURCE_DIR "/models/recipes/table.toml", keys));
  LOCKSTEP_TRY_ASSIGN(const RecipeData data, LoadData(recipe));
  LOCKSTEP_TRY_ASSIGN(const LoaderOptions loading, BuildLoaderOptions(recipe));
  LOCKSTEP_TRY_ASSIGN(const auto loader,
                      Loader::Make(data.train.dataset, data.train.indices, loading));
  Context ctx({.threads = 1});
  const DatasetInfo& info = data.train.dataset->info();
  LOCKSTEP_TRY_ASSIGN(Network net, BuildNetwork(ctx, recipe, info, recipe.train.batch));
  LOCKSTEP_TRY_ASSIGN(const auto optimizer, BuildOptimizer(recipe));
  LOCKSTEP_TRY_ASSIGN(TrainerOptions options,
                      BuildTrainerOptions(recipe, loader->batches_per_epoch()));
  options.keep_best = false;  // nothing is held back to choose by
  LOCKSTEP_TRY_ASSIGN(const auto trainer,
                      Trainer::Make(net, *optimizer, *loader, std::move(options)));
  LOCKSTEP_TRY(trainer->Run().status());
  LOCKSTEP_TRY_ASSIGN(const EvaluationResult result, Evaluate(net, data.test));
  Score score{.auc = result.auc.value_or(0.0), .accuracy = result.accuracy.value_or(0.0)};
  if (info.task == Task::kRegression) {
    score.r2 = result.r2.value();
    return score;
  }
  LOCKSTEP_TRY_ASSIGN(const std::vector<int32_t> classes, ClassLabels(*data.test.dataset));
  double positive = 0.0;
  for (const int64_t row : data.test.indices) positive += classes[static_cast<size_t>(row)];
  const double share = positive / static_cast<double>(data.test.indices.size());
  score.trivial_accuracy = std::max(share, 1.0 - share);
  return score;
}

Score MeanOf(const std::string& file, const std::vector<std::string>& keys, int seeds) {
  Score mean;
  for (int seed = 1; seed <= seeds; ++seed) {
    const Result<Score> score = TrainAndTest(RealFile(file), keys, seed);
    EXPECT_TRUE(score.ok()) << score.status().message();
    if (!score.ok()) break;
    mean.auc += score->auc / seeds;
    mean.accuracy += score->accuracy / seeds;
    mean.trivial_accuracy += score->trivial_accuracy / seeds;
    mean.r2 += score->r2 / seeds;
  }
  return mean;
}
void Expect(const Score& mean, double auc, double above_trivial) {
  EXPECT_TRUE(mean.auc >= auc) << mean.auc;
  EXPECT_TRUE(mean.accuracy >= mean.trivial_accuracy + above_trivial)
      << mean.accuracy << " beside " << mean.trivial_accuracy;
}

// A trivial predictor has an AUC of 0.5 and the accuracy of the larger class; of a regression, R^2
// is 0 for whoever says the mean.
TEST(Tables, GermanCreditTrainsAsItComes) {
  LOCKSTEP_NEEDS_REAL_FILE("tables/german.csv");
  Expect(MeanOf("tables/german.csv", {}, 3), 0.70, 0.0);
}

TEST(Tables, HorseColicTrainsWithTwoKeys) {
  LOCKSTEP_NEEDS_REAL_FILE("tables/horse-colic.csv");
  Expect(MeanOf("tables/horse-colic.csv", {"data.label=23", "data.missing=mean"}, 3), 0.75, 0.05);
}

TEST(Tables, BreastCancerRecurrenceTrainsAsItComes) {
  LOCKSTEP_NEEDS_REAL_FILE("tables/breast-cancer.csv");
  Expect(MeanOf("tables/breast-cancer.csv", {}, 5), 0.58, -0.05);
}

TEST(Tables, PricesOfCarsTrainWithOneKey) {
  LOCKSTEP_NEEDS_REAL_FILE("tables/auto_imports.csv");
  const Score mean = MeanOf("tables/auto_imports.csv", {"data.missing=mean"}, 3);
  EXPECT_TRUE(mean.r2 >= 0.6) << mean.r2;
}

TEST(Tables, WdbcTrainsWithOneKey) {
  LOCKSTEP_NEEDS_REAL_FILE("wdbc/wdbc.data");
  Expect(MeanOf("wdbc/wdbc.data", {"data.label=1"}, 2), 0.98, 0.25);
}

}  // namespace
}  // namespace lockstep
