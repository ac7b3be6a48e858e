// B2: the noise of batch statistics regularises.
#include <fmt/format.h>

#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

const std::vector<int64_t> kBatches = {4, 8, 16, 32, 64, 128};
constexpr int64_t kGradientBatch = 128;

Status Run(Lab& lab, Findings& findings) {
  struct Arm {
    std::string name, norm;
    bool parts;  // one gradient over 128 samples, statistics over parts of them
  };
  const std::vector<Arm> arms = {{"no norm", "none", false},
                                 {"batch norm", "batch", false},
                                 {"batch norm, in parts", "batch", true}};
  std::vector<Settings> cases;
  for (const Arm& arm : arms) {
    for (const int64_t batch : kBatches) {
      cases.push_back(
          {"model.norm=" + arm.norm,
           fmt::format("train.batch={}", arm.parts ? kGradientBatch : batch),
           fmt::format("train.micro_batches={}", arm.parts ? kGradientBatch / batch : 1)});
    }
  }
  LOCKSTEP_TRY_ASSIGN(const auto outcomes, lab.Train(cases));
  for (size_t c = 0; c < cases.size(); ++c) {
    const std::string& arm = arms[c / kBatches.size()].name;
    const auto x = static_cast<double>(kBatches[c % kBatches.size()]);
    findings.Add("gap in loss", arm, x, outcomes[c],
                 [](const Outcome& o) { return o.test_loss - o.train_loss; });
    findings.Add("gap in accuracy", arm, x, outcomes[c],
                 [](const Outcome& o) { return o.train_accuracy - o.test_accuracy; });
    findings.Add("test loss", arm, x, outcomes[c], [](const Outcome& o) { return o.test_loss; });
    findings.Add("test accuracy", arm, x, outcomes[c],
                 [](const Outcome& o) { return o.test_accuracy; });
  }
  for (const std::string metric : {"gap in loss", "gap in accuracy", "test loss"}) {
    findings.Plot(metric, {.title = "Training against test: " + metric,
                           .x_label = "samples in a batch (in parts: behind the statistics)",
                           .y_label = metric,
                           .log_x = true});
  }

  // A gap averaged over batch sizes, for each seed.
  const auto average = [&](const std::string& metric, const std::string& arm) {
    std::vector<double> mean(static_cast<size_t>(lab.seeds()), 0.0);
    for (const int64_t batch : kBatches) {
      const std::vector<double>& values = findings.Values(metric, arm, static_cast<double>(batch));
      for (size_t i = 0; i < mean.size(); ++i)
        mean[i] += values[i] / static_cast<double>(kBatches.size());
    }
    return mean;
  };
  for (const std::string metric : {"gap in loss", "gap in accuracy"}) {
    const std::vector<double> without = average(metric, "no norm");
    const std::vector<double> with = average(metric, "batch norm");
    findings.Expect(
        ClearlyPositive(Difference(without, with)),
        "with batch norm the " + metric + " between training and test is smaller",
        Number(with) + " with it, " + Number(without) + " without, averaged over batch sizes");
  }
  const auto parts = [&](const std::string& metric, int64_t samples) -> const std::vector<double>& {
    return findings.Values(metric, "batch norm, in parts", static_cast<double>(samples));
  };
  findings.Expect(
      ClearlyPositive(Difference(parts("gap in loss", kGradientBatch), parts("gap in loss", 8))),
      "with the same gradient batch, noisier statistics make the gap in loss smaller",
      Number(parts("gap in loss", 8)) + " with statistics over 8 samples, " +
          Number(parts("gap in loss", kGradientBatch)) + " over 128");
  findings.Expect(
      ClearlyPositive(Difference(parts("test loss", kGradientBatch), parts("test loss", 16))),
      "and some noise makes the test loss better",
      Number(parts("test loss", 16)) + " with statistics over 16 samples, " +
          Number(parts("test loss", kGradientBatch)) + " over 128");
  const bool too_much =
      ClearlyPositive(Difference(parts("test loss", 4), parts("test loss", kGradientBatch)));
  findings.Remark(
      "With statistics over 4 samples the test loss is " + Number(parts("test loss", 4)) +
      (too_much ? ": there the noise harms." : ": there the noise does no clear harm."));
  return Status::Ok();
}

}  // namespace

Study StudyB2() {
  return {
      .name = "b2",
      .claim = "Batch norm regularises mildly, through the noise of its batch statistics",
      .method =
          "Networks with and without batch norm are trained on few samples until they know "
          "them by heart, at several batch sizes. A batch size changes more than the "
          "statistics, so a third series takes each gradient over 128 samples and the "
          "statistics over parts of them. The gap is between test and training samples, "
          "both in evaluation mode.",
      .x_label = "samples in a batch",
      .fixed = {"data.kind=digits", "data.size=10000", "data.validation=0.9",
                "model.hidden=[128, 128]", "optimizer.kind=adamw", "optimizer.learning_rate=1e-3",
                "optimizer.weight_decay=0", "train.epochs=30", "train.last_batch=drop"},
      .varied = {"model.norm", "train.batch", "train.micro_batches"},
      .run = Run};
}

}  // namespace lockstep::tools
