// Networks and their samples, assessed as a whole.
#include "engine/train/assess/assessment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "layers/loss/bce_with_logits.h"
#include "layers/loss/mse.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::HasSubstr;
using toy::DatasetPtr;

// The sum of weights * x + bias, so that it is known what matters.
Network LinearNet(Context& ctx, const DatasetPtr& data, std::unique_ptr<Loss> loss,
                  const std::vector<float>& weights, int64_t batch = 16) {
  const int64_t outputs = OutputsOf(data->info());
  Network net =
      Network::Bind(ctx, std::make_unique<Sequential>(Linear(outputs)), std::move(loss),
                    {.input = data->XShape(batch), .seed = 1, .weighted = data->info().weighted})
          .value();
  auto writer = net.Write();
  const std::span<float> to = writer->value(0).span<float>(), bias = writer->value(1).span<float>();
  EXPECT_EQ(to.size(), weights.size());
  std::copy(weights.begin(), weights.end(), to.begin());
  std::fill(bias.begin(), bias.end(), 0.0f);
  return net;
}

DatasetPtr Signs(int64_t samples, int64_t features) {
  Random random(4, StreamOf("signs"));
  std::vector<float> x, targets;
  for (int64_t i = 0; i < samples; ++i) {
    for (int64_t f = 0; f < features; ++f) x.push_back(static_cast<float>(random.Normal()));
    const float* row = x.data() + x.size() - static_cast<size_t>(features);
    targets.push_back(2.0 * row[0] + row[1] + random.Normal() > 0.0 ? 1.0f : 0.0f);
  }
  DatasetInfo info{.name = "signs", .size = samples, .x_shape = {features}};
  SetTargets(Task::kBinary, 1, info);
  info.feature_names = {"strong", "weak", "none"};
  return toy::MakeDataset(std::move(info), std::move(x), std::move(targets));
}

TEST(Assessment, ColumnsThatMatterMoreAreMoreImportant) {
  Context ctx({.threads = 1});
  const DatasetPtr data = Signs(400, 3);
  Network net = LinearNet(ctx, data, std::make_unique<BceWithLogitsLoss>(), {2.0f, 1.0f, 0.0f});
  const Result<Assessment> all = Assess(net, toy::All(data), {});
  ASSERT_TRUE(all.ok()) << all.status().message();
  const Importances& importances = all->importances;
  EXPECT_EQ(importances.score, "auc");
  EXPECT_EQ(importances.value, all->scores[0].value);
  ASSERT_EQ(importances.columns.size(), 3u);
  EXPECT_EQ(importances.columns[0].column, "strong");
  EXPECT_EQ(importances.columns[1].column, "weak");
  EXPECT_GT(importances.columns[0].mean, importances.columns[1].mean);
  EXPECT_GT(importances.columns[1].mean, 0.0);
  // A column that the network does not look at changes no bit.
  EXPECT_EQ(importances.columns[2].mean, 0.0);
  EXPECT_EQ(importances.columns[2].sd, 0.0);
}

TEST(Assessment, WeightsAreOfTheirSamplesAndOnlyWhereThereAreSome) {
  Context ctx({.threads = 1});
  const DatasetPtr data = Signs(120, 3);
  std::vector<float> weights(120);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i % 3);
  const auto weighted = std::make_shared<toy::WeightedDataset>(data, weights);
  // Each sample as often as its weight says.
  Subset repeated{.dataset = data};
  for (int64_t i = 0; i < 120; ++i)
    repeated.indices.insert(repeated.indices.end(), static_cast<size_t>(i % 3), i);
  Network net = LinearNet(ctx, data, std::make_unique<BceWithLogitsLoss>(), {2.0f, 1.0f, 0.0f});
  const Result<Assessment> once = Assess(net, toy::All(data), {}),
                           often = Assess(net, repeated, {});
  Network weighing =
      LinearNet(ctx, weighted, std::make_unique<BceWithLogitsLoss>(), {2.0f, 1.0f, 0.0f});
  const Result<Assessment> all = Assess(weighing, toy::All(weighted), {});
  ASSERT_TRUE(once.ok() && often.ok() && all.ok()) << all.status().message();
  EXPECT_TRUE(once->weighted.empty());
  ASSERT_EQ(all->weighted.size(), all->scores.size() + 2);
  for (size_t s = 0; s < all->scores.size(); ++s) {
    EXPECT_EQ(all->scores[s].value, once->scores[s].value);
    EXPECT_EQ(all->weighted[s].name, all->scores[s].name);
    EXPECT_NEAR(all->weighted[s].value, often->scores[s].value, 1e-12) << all->scores[s].name;
    EXPECT_NE(all->weighted[s].value, all->scores[s].value) << all->scores[s].name;
    EXPECT_TRUE(all->weighted[s].interval.has_value());
  }
  const size_t more = all->scores.size();
  EXPECT_EQ(all->weighted[more].name, "log_loss");
  EXPECT_NEAR(all->weighted[more].value, often->log_loss, 1e-12);
  EXPECT_EQ(all->weighted[more + 1].name, "calibration_error");
  EXPECT_NEAR(all->weighted[more + 1].value, often->calibration_error, 1e-12);
}

TEST(Assessment, FeaturesOfOneColumnMoveTogether) {
  Context ctx({.threads = 1});
  // Two features that cancel where they move together: as a column they do not matter.
  std::vector<float> x, targets;
  Random random(9, 0);
  for (int i = 0; i < 200; ++i) {
    const auto v = static_cast<float>(random.Normal()), u = static_cast<float>(random.Normal());
    x.insert(x.end(), {v, v, u});
    targets.push_back(u > 0.0f ? 1.0f : 0.0f);
  }
  DatasetInfo info{.name = "pairs", .size = 200, .x_shape = {3}};
  SetTargets(Task::kBinary, 1, info);
  info.columns = {{"pair", 0, 2}, {"single", 2, 3}};
  const DatasetPtr data = toy::MakeDataset(std::move(info), std::move(x), std::move(targets));
  Network net = LinearNet(ctx, data, std::make_unique<BceWithLogitsLoss>(), {4.0f, -4.0f, 1.0f});
  const Result<Assessment> all = Assess(net, toy::All(data), {});
  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->importances.columns.size(), 2u);
  EXPECT_EQ(all->importances.columns[0].column, "single");
  EXPECT_NEAR(all->importances.columns[0].mean, 0.5, 0.1);  // from 1 to guessing
  EXPECT_EQ(all->importances.columns[1].mean, 0.0);
  // By feature they matter very much.
  const std::vector<FeatureColumn> split = {{"a", 0, 1}, {"b", 1, 2}};
  const auto apart = PermutationImportance(net, toy::All(data), split, {});
  ASSERT_TRUE(apart.ok());
  EXPECT_GT(apart->columns[0].mean, 0.3);
  const std::vector<FeatureColumn> outside = {{"c", 2, 4}};
  EXPECT_THAT(PermutationImportance(net, toy::All(data), outside, {}).status().message(),
              HasSubstr("column c"));
}

TEST(Assessment, IsTheSameForAnyThreadsAndBatches) {
  const DatasetPtr data = Signs(211, 3);
  std::vector<double> first;
  for (const int threads : {1, 2}) {
    for (const int64_t batch : {1, 7, 300}) {
      Context ctx({.threads = threads});
      Network net =
          LinearNet(ctx, data, std::make_unique<BceWithLogitsLoss>(), {1.0f, 1.0f, 0.3f}, batch);
      const Result<Assessment> all = Assess(net, toy::All(data), {.threshold = 0.4f});
      ASSERT_TRUE(all.ok());
      std::vector<double> values = {all->log_loss, all->calibration_error};
      for (const Score& score : all->scores)
        values.insert(values.end(), {score.value, score.interval->low, score.interval->high});
      for (const Importance& one : all->importances.columns)
        values.insert(values.end(), {one.mean, one.sd});
      if (first.empty()) first = values;
      EXPECT_EQ(values, first) << threads << " threads, batches of " << batch;
    }
  }
}

TEST(Assessment, SubgroupsAreWhatTheirSamplesAloneWouldBe) {
  Context ctx({.threads = 1});
  const DatasetPtr data = Signs(120, 3);
  Network net = LinearNet(ctx, data, std::make_unique<BceWithLogitsLoss>(), {2.0f, 1.0f, 0.0f});
  Subgroup by{.column = "site", .names = {"Oslo", "Rome", "nobody"}};
  std::vector<int64_t> of_rome;
  for (int32_t i = 0; i < 120; ++i) {
    const int32_t group = i % 5 == 0 ? -1 : i % 3 == 0 ? 0 : 1;
    by.of_sample.push_back(group);
    if (group == 1) of_rome.push_back(i);
  }
  const Result<Assessment> all =
      Assess(net, toy::All(data), {}, {.subgroups = {by}, .importance = false});
  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->subgroups.size(), 1u);
  const SubgroupScores& groups = all->subgroups[0];
  EXPECT_EQ(groups.without, 24);
  ASSERT_EQ(groups.groups.size(), 2u);  // nobody is left out
  EXPECT_EQ(groups.groups[0].name, "Rome");
  const Result<Assessment> rome = Assess(net, {.dataset = data, .indices = of_rome}, {});
  ASSERT_TRUE(rome.ok());
  EXPECT_EQ(groups.groups[0].samples, rome->samples);
  EXPECT_EQ(groups.groups[0].positives, rome->positives);
  for (size_t s = 0; s < rome->scores.size(); ++s) {
    EXPECT_EQ(groups.groups[0].scores[s].value, rome->scores[s].value);
    EXPECT_EQ(groups.groups[0].scores[s].interval->low, rome->scores[s].interval->low);
  }
}

TEST(Assessment, OneClassOrOneSampleStillHasAnAssessment) {
  Context ctx({.threads = 1});
  const DatasetPtr data = Signs(50, 3);
  Network net = LinearNet(ctx, data, std::make_unique<BceWithLogitsLoss>(), {2.0f, 1.0f, 0.0f});
  const Result<Assessment> one = Assess(net, {.dataset = data, .indices = {7}}, {});
  ASSERT_TRUE(one.ok()) << one.status().message();
  EXPECT_TRUE(std::isnan(one->scores[0].value));
  EXPECT_TRUE(one->cuts.empty());
  EXPECT_EQ(one->importances.score, one->positives == 1 ? "average_precision" : "accuracy");
  EXPECT_FALSE(Assess(net, {.dataset = data}, {}).ok());
}

TEST(Assessment, ARegressionAnswersInItsOwnUnit) {
  Context ctx({.threads = 1});
  std::vector<float> x, targets;
  for (int i = 0; i < 40; ++i) {
    x.push_back(static_cast<float>(i) / 20.0f - 1.0f);
    targets.push_back(x.back() + (i % 2 == 0 ? 0.1f : -0.1f));
  }
  DatasetInfo info{.name = "line", .size = 40, .x_shape = {1}};
  SetTargets(Task::kRegression, 1, info);
  info.target_offset = 200.0;
  info.target_scale = 50.0;
  const DatasetPtr data = toy::MakeDataset(std::move(info), std::move(x), std::move(targets));
  Network net = LinearNet(ctx, data, std::make_unique<MseLoss>(), {1.0f});
  const Result<Assessment> all = Assess(net, toy::All(data), {});
  ASSERT_TRUE(all.ok()) << all.status().message();
  EXPECT_EQ(all->scores[1].name, "mae");
  EXPECT_NEAR(all->scores[1].value, 5.0, 1e-4);  // 0.1 * 50
  ASSERT_EQ(all->residuals.size(), 1u);
  const Residuals& residuals = all->residuals[0];
  EXPECT_EQ(residuals.points.size(), 40u);
  EXPECT_NEAR(residuals.points[0].truth, 200.0 + 50.0 * -0.9, 1e-3);
  EXPECT_NEAR(residuals.points[0].predicted, 150.0, 1e-3);
  int64_t counted = 0;
  for (const int64_t count : residuals.histogram) counted += count;
  EXPECT_EQ(counted, 40);
  EXPECT_EQ(all->importances.score, "r2");
  // And the metrics that a run prints agree.
  const Result<EvaluationResult> result = Evaluate(net, toy::All(data));
  ASSERT_TRUE(result.ok());
  EXPECT_NEAR(*result->mae, all->scores[1].value, 1e-4);
  EXPECT_NEAR(*result->r2, all->scores[0].value, 1e-5);
}

TEST(Assessment, ManyClassesHaveScoresOfEach) {
  Context ctx({.threads = 1});
  const DatasetPtr data = toy::Blobs(90, 2, 3, 0.3, 5);
  Network net =
      Network::Bind(ctx, std::make_unique<Sequential>(Linear(3)),
                    std::make_unique<CrossEntropyLoss>(), {.input = data->XShape(10), .seed = 3})
          .value();
  const Result<Assessment> all = Assess(net, toy::All(data), {.temperature = 2.0f});
  ASSERT_TRUE(all.ok()) << all.status().message();
  ASSERT_EQ(all->classes.size(), 3u);
  for (const ClassScores& one : all->classes) EXPECT_EQ(one.samples, 30);
  EXPECT_NE(all->log_loss, all->uncalibrated_log_loss);
  EXPECT_EQ(all->importances.score, "accuracy");
  const Result<EvaluationResult> result = Evaluate(net, toy::All(data));
  EXPECT_EQ(all->scores[0].value, *result->accuracy);
}

TEST(Assessment, DrawsADifferentSampleOnlyWhereThereAreTooMany) {
  const DatasetPtr data = Signs(30, 3);
  const Subset all = toy::All(data);
  EXPECT_EQ(DrawSamples(all, 30).indices, all.indices);
  const Subset some = DrawSamples(all, 11);
  EXPECT_EQ(some.indices.size(), 11u);
  EXPECT_TRUE(std::is_sorted(some.indices.begin(), some.indices.end()));
  EXPECT_EQ(std::adjacent_find(some.indices.begin(), some.indices.end()), some.indices.end());
  EXPECT_EQ(DrawSamples(all, 11).indices, some.indices);
  EXPECT_NE(DrawSamples(all, 11, 2).indices, some.indices);
  Context ctx({.threads = 1});
  Network net = LinearNet(ctx, data, std::make_unique<BceWithLogitsLoss>(), {2.0f, 1.0f, 0.0f});
  const Result<Assessment> drawn = Assess(net, all, {}, {.samples = 11});
  ASSERT_TRUE(drawn.ok());
  EXPECT_EQ(drawn->samples, 11);
  EXPECT_EQ(drawn->of, 30);
}

TEST(Assessment, AnOutputThatIsNotFiniteIsAnErrorThatNamesTheSample) {
  Context ctx({.threads = 1});
  const DatasetPtr data = Signs(20, 3);
  Network net = LinearNet(ctx, data, std::make_unique<BceWithLogitsLoss>(), {3e38f, 3e38f, 3e38f});
  const Result<Assessment> all = Assess(net, toy::All(data), {});
  ASSERT_FALSE(all.ok());
  EXPECT_EQ(all.status().code(), Code::kNonFinite);
  EXPECT_THAT(all.status().message(), HasSubstr("of signs is"));
}

}  // namespace
}  // namespace lockstep
