// The recipe for the Wisconsin diagnostic breast cancer data, on the real data where they are at
// hand.
#include <gtest/gtest.h>

#include "engine/train/trainer.h"
#include "models/recipe.h"
#include "tests/engine/data/data_files.h"

namespace lockstep::inline v0_1 {
namespace {

struct Score {
  double accuracy = 0.0, auc = 0.0;
};

Result<Score> TrainAndTest(const std::string& path, int seed) {
  const std::vector<std::string> overrides = {"data.path=" + path,
                                              "data.split_seed=" + std::to_string(seed),
                                              "train.seed=" + std::to_string(seed)};
  LOCKSTEP_TRY_ASSIGN(const Recipe recipe,
                      LoadRecipe(LOCKSTEP_SOURCE_DIR "/models/recipes/wdbc.toml", overrides));
  LOCKSTEP_TRY_ASSIGN(const RecipeData data, LoadData(recipe));
  LOCKSTEP_TRY_ASSIGN(const LoaderOptions loading, BuildLoaderOptions(recipe));
  LOCKSTEP_TRY_ASSIGN(const auto loader,
                      Loader::Make(data.train.dataset, data.train.indices, loading));
  Context ctx({.threads = 1});
  LOCKSTEP_TRY_ASSIGN(Network net,
                      BuildNetwork(ctx, recipe, data.train.dataset->info(), recipe.train.batch));
  LOCKSTEP_TRY_ASSIGN(const auto optimizer, BuildOptimizer(recipe));
  LOCKSTEP_TRY_ASSIGN(TrainerOptions options,
                      BuildTrainerOptions(recipe, loader->batches_per_epoch()));
  options.keep_best = false;  // nothing is held back to choose by
  LOCKSTEP_TRY_ASSIGN(const auto trainer,
                      Trainer::Make(net, *optimizer, *loader, std::move(options)));
  LOCKSTEP_TRY(trainer->Run().status());
  LOCKSTEP_TRY_ASSIGN(const EvaluationResult result, Evaluate(net, data.test));
  return Score{.accuracy = result.accuracy.value(), .auc = result.auc.value()};
}

// Five splits with a seed each; the floors are those that the clinical network is advertised with.
TEST(Wdbc, ReachesItsAccuracyOverFiveSplits) {
  LOCKSTEP_NEEDS_REAL_FILE("wdbc/wdbc.data");
  const std::string path = RealFile("wdbc/wdbc.data");
  Score mean;
  for (int seed = 1; seed <= 5; ++seed) {
    const Result<Score> score = TrainAndTest(path, seed);
    ASSERT_TRUE(score.ok()) << score.status().message();
    mean.accuracy += score->accuracy / 5.0;
    mean.auc += score->auc / 5.0;
  }
  EXPECT_TRUE(mean.accuracy >= 0.970) << mean.accuracy;
  EXPECT_TRUE(mean.auc >= 0.990) << mean.auc;
}

}  // namespace
}  // namespace lockstep
