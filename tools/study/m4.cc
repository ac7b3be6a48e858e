// M4: one sample at a time needs evaluation mode.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

const std::vector<int64_t> kBatches = {2, 4, 8, 16, 32, 64, 128, 256};
constexpr int64_t kPatients = 200;
constexpr int64_t kDraws = 10;

double Probability(double logit) { return 1.0 / (1.0 + std::exp(-logit)); }

// What a training step on one sample gives under a policy for batches of one.
Result<StepResult> StepOnOne(const Lab& lab, const std::string& policy) {
  Context ctx({.threads = 1});
  Recipe recipe = lab.recipe();
  std::get<MlpFamily>(recipe.model.family).single_value = policy;
  const Subset& test = lab.data().test;
  LOCKSTEP_TRY_ASSIGN(Network net, BuildNetwork(ctx, recipe, test.dataset->info(), /*batch=*/2));
  LOCKSTEP_TRY_ASSIGN(const Samples one, Samples::Gather(*test.dataset, {test.indices.data(), 1}));
  return net.Gradients(one.x(), one.target());
}

Status Run(Lab& lab, Findings& findings) {
  const Subset& test = lab.data().test;
  if (ObjectiveOf(test.dataset->info().task).reading != Reading::kPositive)
    return Status::Invalid("this study needs data with two classes");
  const Watch watch = [&](const Look& at) -> Status {
    if (!at.end) return Status::Ok();
    const auto seed = static_cast<uint64_t>(at.recipe.train.seed);
    const std::vector<int64_t> patients = Draw(test.indices, kPatients, seed, 0);
    LOCKSTEP_TRY_ASSIGN(const Samples all, Samples::Gather(*test.dataset, patients));
    const auto count = static_cast<int64_t>(patients.size());
    std::vector<float> together(patients.size()), alone(patients.size()), copies(patients.size());
    LOCKSTEP_TRY(at.net.Predict(all.x(), {together.data(), Shape{count, 1}}));
    double apart = 0.0;
    for (int64_t i = 0; i < count; ++i) {
      const auto p = static_cast<size_t>(i);
      LOCKSTEP_TRY(at.net.Predict(all.x().Samples(i, i + 1), {&alone[p], Shape{1, 1}}));
      apart = std::max(apart, std::abs(Probability(alone[p]) - Probability(together[p])));
    }
    auto& more = at.outcome.more;
    more["alone"] = {apart};

    for (const int64_t batch : kBatches) {
      double sum = 0.0;
      std::vector<float> scores;
      for (int64_t i = 0; i < count; ++i) {
        const auto p = static_cast<size_t>(i);
        for (int64_t draw = 0; draw < kDraws; ++draw) {
          const std::vector<int64_t> indices = BesideOthers(
              patients[p], test.indices, batch, seed, static_cast<uint64_t>(1 + i * kDraws + draw));
          LOCKSTEP_TRY_ASSIGN(const Samples mates, Samples::Gather(*test.dataset, indices));
          LOCKSTEP_TRY(at.net.EvaluateInTrainingMode(mates.x(), mates.target()).status());
          const float logit = at.net.output().f32()[0];
          sum += std::abs(Probability(logit) - Probability(alone[p]));
          if (draw == 0) scores.push_back(logit);
        }
      }
      more["deviation"].push_back(sum / static_cast<double>(count * kDraws));
      more["auc"].push_back(Auc(scores, all.target().span<float>()).value_or(0.5));
    }
    more["auc alone"] = {Auc(alone, all.target().span<float>()).value_or(0.5)};
    // A batch of copies of one sample has no variance: the network sees nothing but zeros.
    for (int64_t i = 0; i < count; ++i) {
      const auto p = static_cast<size_t>(i);
      const std::vector<int64_t> twice = {patients[p], patients[p]};
      LOCKSTEP_TRY_ASSIGN(const Samples pair, Samples::Gather(*test.dataset, twice));
      LOCKSTEP_TRY(at.net.EvaluateInTrainingMode(pair.x(), pair.target()).status());
      copies[p] = at.net.output().f32()[0];
    }
    const auto [least, most] = std::minmax_element(copies.begin(), copies.end());
    more["copies"] = {Probability(*most) - Probability(*least)};
    more["auc copies"] = {Auc(copies, all.target().span<float>()).value_or(0.5)};
    return Status::Ok();
  };
  lab.BindFor(kBatches.back());
  const std::vector<Settings> cases = {{}};
  LOCKSTEP_TRY_ASSIGN(const auto outcomes, lab.Train(cases, watch));
  const std::vector<Outcome>& runs = outcomes[0];
  const auto add = [&](const std::string& metric, const std::string& arm, const std::string& key) {
    findings.Add(metric, arm, 1.0, runs, [&](const Outcome& o) { return o.more.at(key)[0]; });
  };
  add("AUC", "evaluation mode, alone", "auc alone");
  add("AUC", "training mode, beside its copy", "auc copies");
  add("change of the probability", "evaluation mode, alone", "alone");
  add("range of probabilities", "training mode, beside its copy", "copies");
  for (size_t b = 0; b < kBatches.size(); ++b) {
    findings.Add("change of the probability", "training mode", static_cast<double>(kBatches[b]),
                 runs, [&](const Outcome& o) { return o.more.at("deviation")[b]; });
    findings.Add("AUC", "training mode", static_cast<double>(kBatches[b]), runs,
                 [&](const Outcome& o) { return o.more.at("auc")[b]; });
  }
  findings.Plot("change of the probability",
                {.title = "How far a patient's probability is off in training mode",
                 .x_label = "samples in the batch",
                 .y_label = "mean change of the probability",
                 .log_x = true});
  findings.Plot("AUC", {.title = "How well patients are told apart",
                        .x_label = "samples in the batch",
                        .y_label = "AUC",
                        .log_x = true});

  const Result<StepResult> refused = StepOnOne(lab, "error");
  const Result<StepResult> skipped = StepOnOne(lab, "skip");
  const Result<StepResult> running = StepOnOne(lab, "running");
  findings.Expect(refused.status().code() == Code::kInvalid,
                  "training mode refuses a single sample, and says why",
                  refused.ok() ? "it ran" : refused.status().message());
  const auto value = [&](const std::string& metric, const std::string& arm,
                         double x) -> const std::vector<double>& {
    return findings.Values(metric, arm, x);
  };
  const auto& alone = value("change of the probability", "evaluation mode, alone", 1.0);
  findings.Expect(SpreadOf(alone).high <= 1e-6,
                  "evaluation mode takes a single sample, and says the same as for it in a batch",
                  "the probabilities differ by at most " + Number(SpreadOf(alone).high));
  const auto& pair = value("change of the probability", "training mode", 2.0);
  findings.Expect(SpreadOf(pair).mean >= 0.05,
                  "in training mode, beside one other sample, the probability is off by 0.05 or "
                  "more",
                  Number(pair) + " on average; AUC " + Number(value("AUC", "training mode", 2.0)) +
                      " instead of " + Number(value("AUC", "evaluation mode, alone", 1.0)));
  const auto& range = value("range of probabilities", "training mode, beside its copy", 1.0);
  findings.Expect(SpreadOf(range).high <= 1e-6,
                  "in training mode, beside its own copy, every sample gets the same probability",
                  "they differ by at most " + Number(SpreadOf(range).high) + "; AUC " +
                      Number(value("AUC", "training mode, beside its copy", 1.0)));
  const auto& large =
      value("change of the probability", "training mode", static_cast<double>(kBatches.back()));
  findings.Expect(
      SpreadOf(large).mean >= 0.01,
      fmt::format("even in a batch of {} training mode is off by 0.01 or more", kBatches.back()),
      Number(large) + " on average");
  findings.Remark(fmt::format(
      "A training step on one sample {} under the policy \"skip\" and {} under \"running\".",
      skipped.ok() && skipped->skipped ? "is left out" : "is not left out",
      running.ok() && !running->skipped ? "runs" : "does not run"));
  return Status::Ok();
}

}  // namespace

Study StudyM4() {
  return {.name = "m4",
          .claim = "Predictions for one sample at a time need evaluation mode",
          .method =
              "A network with batch norm is trained on tabular data. Then test patients are "
              "predicted one at a time: in evaluation mode alone, and in training mode "
              "beside other patients, whose values shape the statistics, or beside a copy.",
          .x_label = "samples in a batch",
          .fixed = {"data.kind=clinical", "data.size=4000", "model.hidden=[64, 32]",
                    "optimizer.kind=adamw", "optimizer.learning_rate=3e-3",
                    "optimizer.weight_decay=0.1", "train.epochs=10", "train.batch=64",
                    "train.last_batch=drop"},
          .varied = {"model.single_value"},
          .run = Run};
}

}  // namespace lockstep::tools
