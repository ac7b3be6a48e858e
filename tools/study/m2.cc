// M2: who forgets to switch to evaluation mode gets a wrong validation loss.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/train/checkpointing.h"
#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

// How the validation samples go through the network in the wrong mode.
struct Pass {
  std::string name;
  int64_t batch;
  bool sorted;  // by outcome, as files often are; otherwise shuffled
};
const std::vector<Pass> kPasses = {{"wrong mode, batches of 4", 4, false},
                                   {"wrong mode, batches of 16", 16, false},
                                   {"wrong mode, batches of 256", 256, false},
                                   {"wrong mode, 16, sorted", 16, true}};
const std::string kRight = "right mode";

// The mean loss over all samples of `indices`, in training mode, batch by batch.
Status WrongLoss(const Look& at, const Dataset& dataset, std::span<const int64_t> indices,
                 int64_t batch, double& loss) {
  double sum = 0.0, weight = 0.0;
  const auto size = static_cast<int64_t>(indices.size());
  for (int64_t begin = 0; begin < size; begin += batch) {
    // One sample that is left over would have no statistics: the batch before takes it.
    int64_t end = std::min(size, begin + batch);
    if (size - end == 1) end = size;
    LOCKSTEP_TRY_ASSIGN(
        const Samples samples,
        Samples::Gather(dataset, indices.subspan(static_cast<size_t>(begin),
                                                 static_cast<size_t>(end - begin))));
    LOCKSTEP_TRY_ASSIGN(
        const LossSum part,
        at.net.EvaluateInTrainingMode(samples.x(), samples.target(), static_cast<uint64_t>(begin)));
    sum += part.sum;
    weight += part.weight;
    if (end == size) break;
  }
  loss = sum / weight;
  return Status::Ok();
}

Status Run(Lab& lab, Findings& findings) {
  const Subset& validation = lab.data().validation;
  if (validation.indices.size() < 2)
    return Status::Invalid("this study needs samples to validate: raise data.validation");
  LOCKSTEP_TRY_ASSIGN(const std::vector<int32_t> labels, ClassLabels(*validation.dataset));
  std::vector<int64_t> sorted = validation.indices;
  std::stable_sort(sorted.begin(), sorted.end(), [&](int64_t a, int64_t b) {
    return labels[static_cast<size_t>(a)] < labels[static_cast<size_t>(b)];
  });
  const Watch watch = [&](const Look& at) -> Status {
    if (at.end) return Status::Ok();
    ModelCopy before(at.net);
    LOCKSTEP_TRY(before.TakeFrom(at.net));
    LOCKSTEP_TRY_ASSIGN(const EvaluationResult right, Evaluate(at.net, validation));
    at.outcome.more[kRight].push_back(right.loss);
    const std::vector<int64_t> shuffled =
        Draw(validation.indices, static_cast<int64_t>(validation.indices.size()),
             static_cast<uint64_t>(at.recipe.train.seed), static_cast<uint64_t>(at.epoch));
    for (const Pass& pass : kPasses) {
      double loss = 0.0;
      LOCKSTEP_TRY(
          WrongLoss(at, *validation.dataset, pass.sorted ? sorted : shuffled, pass.batch, loss));
      at.outcome.more[pass.name].push_back(loss);
      // The pass has moved the running statistics towards the validation samples.
      LOCKSTEP_TRY_ASSIGN(const EvaluationResult after, Evaluate(at.net, validation));
      at.outcome.more["after " + pass.name].push_back(after.loss);
      LOCKSTEP_TRY(before.ApplyTo(at.net));
    }
    return Status::Ok();
  };
  lab.BindFor(257);
  const std::vector<Settings> cases = {{}};
  LOCKSTEP_TRY_ASSIGN(const auto outcomes, lab.Train(cases, watch));
  const std::vector<Outcome>& runs = outcomes[0];
  std::vector<std::string> names = {kRight};
  for (const Pass& pass : kPasses) names.push_back(pass.name);
  size_t epochs = runs[0].more.at(kRight).size();
  for (const Outcome& o : runs) epochs = std::min(epochs, o.more.at(kRight).size());
  for (const std::string& name : names) {
    for (size_t e = 0; e < epochs; ++e) {
      findings.Add("validation loss", name, static_cast<double>(e + 1), runs,
                   [&](const Outcome& o) { return o.more.at(name)[e]; });
    }
    findings.Add("validation loss at the end", name, 0.0, runs,
                 [&](const Outcome& o) { return o.more.at(name).back(); });
    const auto best = [&](const Outcome& o) {
      const auto& v = o.more.at(name);
      return static_cast<double>(std::min_element(v.begin(), v.end()) - v.begin() + 1);
    };
    findings.Add("best epoch", name, 0.0, runs, best);
  }
  for (const Pass& pass : kPasses)
    findings.Add("right loss after such a pass", pass.name, 0.0, runs,
                 [&](const Outcome& o) { return o.more.at("after " + pass.name).back(); });
  findings.LeaveOutOfTable("validation loss");
  findings.Plot("validation loss", {.title = "Validation loss in the right and the wrong mode",
                                    .x_label = "epoch",
                                    .y_label = "validation loss"});

  const auto at_end = [&](const std::string& name) -> const std::vector<double>& {
    return findings.Values("validation loss at the end", name, 0.0);
  };
  const double right = SpreadOf(at_end(kRight)).mean;
  // Wrong by at least a hundredth, and clearly so.
  for (const Pass& pass : kPasses) {
    const std::vector<double> above = Difference(at_end(pass.name), at_end(kRight));
    const std::vector<double> below = Difference(at_end(kRight), at_end(pass.name));
    const double mean = SpreadOf(above).mean;
    findings.Expect(
        (ClearlyPositive(above) || ClearlyPositive(below)) && std::abs(mean) >= 0.01 * right,
        fmt::format("in the wrong mode, {} batches of {} misreport the loss by 1 % or "
                    "more",
                    pass.sorted ? "sorted" : "shuffled", pass.batch),
        fmt::format("{} instead of {}, {:+.1f} %", Number(at_end(pass.name)),
                    Number(at_end(kRight)), mean / right * 100.0));
  }
  const auto& best_right = findings.Values("best epoch", kRight, 0.0);
  const auto& best_wrong = findings.Values("best epoch", kPasses[0].name, 0.0);
  size_t moved = 0;
  for (size_t s = 0; s < best_right.size(); ++s) moved += best_right[s] != best_wrong[s];
  findings.Expect(2 * moved > best_right.size(),
                  "another epoch looks best, so that early stopping keeps other weights",
                  fmt::format("with batches of 4 in {} of {} runs: epoch {} instead of {}", moved,
                              best_right.size(), Number(best_wrong), Number(best_right)));
  const auto after = [&](size_t pass) -> const std::vector<double>& {
    return findings.Values("right loss after such a pass", kPasses[pass].name, 0.0);
  };
  const std::vector<double> harm = Difference(after(3), at_end(kRight));
  findings.Expect(
      ClearlyPositive(harm) && SpreadOf(harm).mean >= 0.01 * right,
      "a sorted pass in the wrong mode also spoils the running statistics, and with "
      "them the model",
      "the right loss is " + Number(after(3)) + " after it, " + Number(at_end(kRight)) + " before");
  findings.Remark("After a shuffled pass with batches of 16 the right loss is " + Number(after(1)) +
                  ".");
  return Status::Ok();
}

}  // namespace

Study StudyM2() {
  return {.name = "m2",
          .claim = "Who forgets to switch to evaluation mode misreports the validation loss",
          .method =
              "A network with batch norm is trained on tabular data. After every epoch the "
              "validation loss is taken in evaluation mode, and then again in training mode, "
              "as happens to those who forget to switch: in shuffled batches of 4, 16 and "
              "256, and in batches of 16 from a file that is sorted by outcome. Training "
              "goes on from the state before.",
          .x_label = "epoch",
          .fixed = {"data.kind=clinical", "data.size=4000", "data.validation=0.25",
                    "model.hidden=[64, 32]", "model.dropout=0", "optimizer.kind=adamw",
                    "optimizer.learning_rate=1e-3", "optimizer.weight_decay=0.1", "train.epochs=20",
                    "train.batch=64", "train.last_batch=drop"},
          .varied = {},
          .run = Run};
}

}  // namespace lockstep::tools
