// Tables as people have them, each trained with one recipe and at most two keys of its own, on the
// real data where they are at hand. Every row is held back once, in one of five folds.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/train/assess/predictions.h"
#include "engine/train/assess/ranking.h"
#include "engine/train/trainer.h"
#include "models/recipe.h"
#include "tests/engine/data/data_files.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int kFolds = 5;
// Standard errors: what sampling alone does once in a thousand tables.
constexpr double kErrors = 3.09;

// What a network says of the fold that it has not seen, and the mean of the numbers that it has.
struct Fold {
  Predictions said;
  double trained_mean = 0.0;
};

Result<Fold> TrainAndTest(const std::string& path, std::vector<std::string> keys, int fold) {
  keys.push_back("data.path=" + path);
  keys.push_back("data.folds=" + std::to_string(kFolds));
  keys.push_back("data.fold=" + std::to_string(fold));
  keys.push_back("data.validation=0");
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
  Fold made;
  LOCKSTEP_TRY_ASSIGN(made.said, Collect(net, data.test));
  if (info.task != Task::kRegression) return made;
  LOCKSTEP_TRY_ASSIGN(const Predictions trained, Collect(net, data.train));
  for (const float t : trained.truths)
    made.trained_mean += t / static_cast<double>(trained.truths.size());
  return made;
}

std::vector<Fold> AllFolds(const std::string& file, const std::vector<std::string>& keys) {
  std::vector<Fold> folds;
  for (int fold = 1; fold <= kFolds; ++fold) {
    Result<Fold> made = TrainAndTest(RealFile(file), keys, fold);
    EXPECT_TRUE(made.ok()) << made.status().message();
    if (made.ok()) folds.push_back(std::move(*made));
  }
  return folds;
}

// The variance of an area A under the curve of so many positives and negatives (Hanley and McNeil,
// The meaning and use of the area under a ROC curve, Radiology 1982).
double VarianceOfAuc(double a, double positives, double negatives) {
  const double q1 = a / (2.0 - a), q2 = 2.0 * a * a / (1.0 + a);
  return (a * (1.0 - a) + (positives - 1.0) * (q1 - a * a) + (negatives - 1.0) * (q2 - a * a)) /
         (positives * negatives);
}

// `logistic`: what scikit-learn's logistic regression reaches on these tables in five folds of its
// own (golden/table_baselines.py). A network that is as good reaches that, but for chance.
void ExpectAuc(const std::vector<Fold>& folds, double logistic) {
  ASSERT_EQ(folds.size(), size_t{kFolds});
  double mean = 0.0, variance = 0.0, of_chance = 0.0;
  for (const Fold& fold : folds) {
    const Ranking ranking(fold.said.outputs, fold.said.truths);
    const auto positives = static_cast<double>(ranking.positives());
    const auto negatives = static_cast<double>(ranking.negatives());
    mean += ranking.Auc().value_or(std::nan("")) / kFolds;
    variance += VarianceOfAuc(logistic, positives, negatives) / (kFolds * kFolds);
    of_chance += VarianceOfAuc(0.5, positives, negatives) / (kFolds * kFolds);
  }
  EXPECT_TRUE(mean >= logistic - kErrors * std::sqrt(variance))
      << mean << " beside " << logistic << ", standard error " << std::sqrt(variance);
  EXPECT_TRUE(mean >= 0.5 + kErrors * std::sqrt(of_chance))
      << mean << ", of chance " << std::sqrt(of_chance);
}

// More rows are told rightly than by whoever says the larger class, of which the share of a number
// of rows like this has its own sampling error.
void ExpectBetterThanTheLargerClass(const std::vector<Fold>& folds) {
  double rows = 0.0, right = 0.0, positives = 0.0;
  for (const Fold& fold : folds) {
    for (size_t i = 0; i < fold.said.truths.size(); ++i) {
      const bool positive = fold.said.truths[i] > 0.5f;
      rows += 1.0;
      positives += positive ? 1.0 : 0.0;
      right += positive == (fold.said.outputs[i] > 0.0f) ? 1.0 : 0.0;
    }
  }
  const double share = std::max(positives, rows - positives) / rows;
  EXPECT_TRUE(right / rows >= share + kErrors * std::sqrt(share * (1.0 - share) / rows))
      << right / rows << " beside " << share;
}

// By how much the squared error of whoever says the mean of the rows trained on is the larger: its
// mean over all rows, in standard errors of that mean.
void ExpectBetterThanTheMean(const std::vector<Fold>& folds) {
  double n = 0.0, sum = 0.0, squares = 0.0;
  for (const Fold& fold : folds) {
    for (size_t i = 0; i < fold.said.truths.size(); ++i) {
      const double truth = fold.said.truths[i];
      const double of_mean = truth - fold.trained_mean, of_ours = truth - fold.said.outputs[i];
      const double gain = of_mean * of_mean - of_ours * of_ours;
      n += 1.0;
      sum += gain;
      squares += gain * gain;
    }
  }
  const double mean = sum / n, sd = std::sqrt((squares - n * mean * mean) / (n - 1.0));
  EXPECT_TRUE(mean >= kErrors * sd / std::sqrt(n))
      << mean << ", standard error " << sd / std::sqrt(n);
}

TEST(Tables, GermanCreditTrainsAsItComes) {
  LOCKSTEP_NEEDS_REAL_FILE("tables/german.csv");
  ExpectAuc(AllFolds("tables/german.csv", {}), 0.783);
}

TEST(Tables, HorseColicTrainsWithTwoKeys) {
  LOCKSTEP_NEEDS_REAL_FILE("tables/horse-colic.csv");
  const auto folds = AllFolds("tables/horse-colic.csv", {"data.label=23", "data.missing=mean"});
  ExpectAuc(folds, 0.864);
  ExpectBetterThanTheLargerClass(folds);
}

TEST(Tables, BreastCancerRecurrenceTrainsAsItComes) {
  LOCKSTEP_NEEDS_REAL_FILE("tables/breast-cancer.csv");
  ExpectAuc(AllFolds("tables/breast-cancer.csv", {}), 0.669);
}

TEST(Tables, PricesOfCarsTrainWithOneKey) {
  LOCKSTEP_NEEDS_REAL_FILE("tables/auto_imports.csv");
  ExpectBetterThanTheMean(AllFolds("tables/auto_imports.csv", {"data.missing=mean"}));
}

TEST(Tables, WdbcTrainsWithOneKey) {
  LOCKSTEP_NEEDS_REAL_FILE("wdbc/wdbc.data");
  const auto folds = AllFolds("wdbc/wdbc.data", {"data.label=1"});
  ExpectAuc(folds, 0.995);
  ExpectBetterThanTheLargerClass(folds);
}

}  // namespace
}  // namespace lockstep
