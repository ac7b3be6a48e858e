// M1: with small batches, the statistics of batch norm get noisy. As perceptrons, and with --cnn as
// convolutional networks, where each channel's mean is over the pixels of a batch as well.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

const std::vector<int64_t> kBatches = {2, 4, 8, 16, 32, 64, 128, 256};
const std::vector<int64_t> kCnnBatches = {2, 4, 8, 16, 32, 64};
constexpr int64_t kLargeBatch = 1024;  // whose mean counts as the true one
constexpr int64_t kDraws = 20;         // batches that noise is measured on, and samples

// The inputs of the first norm: outputs of the first layer that has weights.
class FirstOutputs final : public StepObserver {
 public:
  explicit FirstOutputs(std::string layer) : layer_(std::move(layer)) {}
  void Before(const std::string&, bool) override {}
  void After(const std::string& layer, bool backward, ConstTensor y) override {
    if (backward || layer != layer_) return;
    values.assign(y.span<float>().begin(), y.span<float>().end());
    units = static_cast<size_t>(y.shape().channels());
  }
  std::vector<float> values;  // (rows, units): rows are samples, or pixels of them
  size_t units = 0;

 private:
  std::string layer_;
};

std::string FirstLayer(const Recipe& recipe, const Subset& data) {
  if (IsCnn(recipe)) return "0.0.0";
  return data.dataset->info().x_shape.rank() == 1 ? "0" : "1";
}

// How far the mean of a batch of `batch` samples lies from that of a large one, in units of the
// large one's deviation: a root mean square over units (or channels) and batches.
Status MeasureStatistics(const Look& at, const Subset& data, int64_t batch, double& noise) {
  FirstOutputs first(FirstLayer(at.recipe, data));
  const auto seed = static_cast<uint64_t>(at.recipe.train.seed);
  std::vector<double> mean, deviation;
  double sum = 0.0;
  int64_t terms = 0;
  for (int64_t draw = 0; draw <= kDraws; ++draw) {
    const bool large = draw == 0;
    LOCKSTEP_TRY_ASSIGN(
        const Samples samples,
        Samples::Gather(*data.dataset, Draw(data.indices, large ? kLargeBatch : batch, seed,
                                            static_cast<uint64_t>(draw))));
    LOCKSTEP_TRY(at.net.Gradients(samples.x(), samples.target(), {.observer = &first}).status());
    const size_t units = first.units, rows = first.values.size() / units;
    if (large) {
      mean.assign(units, 0.0);
      deviation.assign(units, 0.0);
    }
    for (size_t u = 0; u < units; ++u) {
      double m = 0.0, v = 0.0;
      for (size_t r = 0; r < rows; ++r) m += double{first.values[r * units + u]} / double(rows);
      if (large) {
        for (size_t r = 0; r < rows; ++r) {
          const double d = double{first.values[r * units + u]} - m;
          v += d * d / double(rows);
        }
        mean[u] = m;
        deviation[u] = std::sqrt(v + 1e-12);
      } else {
        const double z = (m - mean[u]) / deviation[u];
        sum += z * z;
        ++terms;
      }
    }
  }
  noise = std::sqrt(sum / static_cast<double>(terms));
  return Status::Ok();
}

Status Run(Lab& lab, Findings& findings) {
  const bool cnn = IsCnn(lab.recipe());
  const std::vector<int64_t>& batches = cnn ? kCnnBatches : kBatches;
  std::vector<std::pair<std::string, std::string>> arms = {{"batch norm", "batch"}};
  if (!cnn) arms.emplace_back("layer norm", "layer");
  arms.emplace_back("group norm", "group");
  const double rate = cnn ? 3e-3 : 1e-3;  // for batches of 32
  std::vector<Settings> cases;
  for (const auto& [arm, norm] : arms) {
    for (const int64_t batch : batches) {
      cases.push_back({"model.norm=" + norm, fmt::format("train.batch={}", batch),
                       fmt::format("optimizer.learning_rate={}",
                                   rate * std::sqrt(static_cast<double>(batch) / 32.0))});
    }
  }
  const Watch watch = [&](const Look& at) -> Status {
    if (!at.end) return Status::Ok();
    double statistics = 0.0, outputs = 0.0;
    const int64_t batch = at.recipe.train.batch;
    const std::string& norm =
        std::visit([](const auto& family) -> const std::string& { return family.norm; },
                   at.recipe.model.family);
    if (norm == "batch") LOCKSTEP_TRY(MeasureStatistics(at, lab.data().test, batch, statistics));
    LOCKSTEP_TRY(NoiseOfOutputs(at, lab.data().test, batch, kDraws, outputs));
    at.outcome.more = {{"statistics", {statistics}}, {"outputs", {outputs}}};
    return Status::Ok();
  };
  lab.BindFor(kLargeBatch);
  LOCKSTEP_TRY_ASSIGN(const auto outcomes, lab.Train(cases, watch));
  for (size_t c = 0; c < cases.size(); ++c) {
    const std::string& arm = arms[c / batches.size()].first;
    const auto batch = static_cast<double>(batches[c % batches.size()]);
    findings.Add("test accuracy", arm, batch, outcomes[c],
                 [](const Outcome& o) { return o.test_accuracy; });
    findings.Add("noise of outputs", arm, batch, outcomes[c],
                 [](const Outcome& o) { return o.more.at("outputs")[0]; });
    if (arm == arms[0].first) {
      findings.Add("noise of statistics", arm, batch, outcomes[c],
                   [](const Outcome& o) { return o.more.at("statistics")[0]; });
    }
  }
  findings.Plot("test accuracy", {.title = "Test accuracy by batch size",
                                  .x_label = "samples in a batch",
                                  .y_label = "test accuracy",
                                  .log_x = true});
  findings.Plot("noise of statistics",
                {.title = "How far the mean of a batch is off, in deviations of a unit",
                 .x_label = "samples in a batch",
                 .y_label = "noise of statistics",
                 .log_x = true,
                 .log_y = true});
  findings.Plot("noise of outputs",
                {.title = "How much the samples beside a sample change its outputs",
                 .x_label = "samples in a batch",
                 .y_label = "deviation, relative",
                 .log_x = true});

  const auto accuracy = [&](size_t arm, int64_t batch) -> const std::vector<double>& {
    return findings.Values("test accuracy", arms[arm].first, static_cast<double>(batch));
  };
  const std::string others = cnn ? "group norm" : "both layer norm and group norm";
  const auto all_arms = [&](int64_t batch) {
    std::string text = Percent(accuracy(0, batch)) + " against " + Percent(accuracy(1, batch));
    return cnn ? text : text + " and " + Percent(accuracy(2, batch));
  };
  const auto behind = [&](int64_t batch) {
    bool all = true;
    for (size_t arm = 1; arm < arms.size(); ++arm)
      all = all && ClearlyPositive(Difference(accuracy(arm, batch), accuracy(0, batch)));
    return all;
  };
  for (const int64_t batch : {2, 4}) {
    findings.Expect(
        behind(batch),
        fmt::format("with batches of {} batch norm is less accurate than {}", batch, others),
        all_arms(batch));
  }
  double largest = 0.0;
  bool level = true;
  for (const int64_t batch : batches) {
    if (batch < 8) continue;
    for (size_t arm = 1; arm < arms.size(); ++arm) {
      const double gap = SpreadOf(accuracy(arm, batch)).mean - SpreadOf(accuracy(0, batch)).mean;
      largest = std::max(largest, gap);
      level = level && gap < 0.02;
    }
  }
  findings.Expect(level,
                  std::string("from 8 samples on it is less than two points behind ") +
                      (cnn ? "group norm" : "the better of them"),
                  fmt::format("at most {:.1f} points", largest * 100.0));
  const auto noise = [&](int64_t batch) -> const std::vector<double>& {
    return findings.Values("noise of statistics", arms[0].first, static_cast<double>(batch));
  };
  if (cnn) {
    // Independent pixels would leave 1 / sqrt(samples x pixels).
    const Shape& picture = lab.data().test.dataset->info().x_shape;
    const int64_t pixels = picture[0] * picture[1];
    const double independent = 1.0 / std::sqrt(2.0 * static_cast<double>(pixels));
    std::vector<double> excess;
    for (const double one : noise(2)) excess.push_back(one - independent);
    findings.Expect(ClearlyPositive(excess),
                    "pixels of a picture are no independent samples: the mean of a channel over 2 "
                    "pictures is further off than that of so many independent pixels",
                    Number(noise(2)) + " of its deviation against " + Number(independent));
    const auto outputs = [&](int64_t batch) -> const std::vector<double>& {
      return findings.Values("noise of outputs", arms[0].first, static_cast<double>(batch));
    };
    findings.Expect(SpreadOf(outputs(2)).mean > 2.0 * SpreadOf(outputs(64)).mean,
                    "with batch norm the other pictures change a picture's outputs more than twice "
                    "as much in batches of 2 as in batches of 64",
                    Number(outputs(2)) + " against " + Number(outputs(64)) + " deviations");
    const double two = SpreadOf(noise(2)).mean;
    findings.Remark(fmt::format(
        "2 pictures of {} pixels leave a channel's mean as uncertain as {:.0f} independent samples "
        "would: reason to expect that small batches cost a convolutional network less than a "
        "perceptron.",
        pixels, 1.0 / (two * two)));
  } else {
    findings.Expect(
        SpreadOf(noise(4)).mean > 0.4 && SpreadOf(noise(64)).mean < 0.2,
        "the mean of 4 samples is off by more than 0.4 deviations of a unit, that of 64 "
        "by less than 0.2",
        Number(noise(4)) + " and " + Number(noise(64)));
  }
  double mates = 0.0;
  for (size_t arm = 1; arm < arms.size(); ++arm) {
    for (const int64_t batch : batches) {
      mates = std::max(mates, SpreadOf(findings.Values("noise of outputs", arms[arm].first,
                                                       static_cast<double>(batch)))
                                  .high);
    }
  }
  findings.Expect(mates < 1e-6,
                  cnn ? "outputs with group norm do not depend on the other pictures"
                      : "outputs with layer norm and group norm do not depend on the other samples",
                  "they change by at most " + Number(mates) + " of their deviation");
  findings.Remark("With batches of 8: " + all_arms(8) +
                  (cnn ? " (group norm)." : " (layer norm, group norm)."));
  return Status::Ok();
}

}  // namespace

Study StudyM1() {
  return {
      .name = "m1",
      .claim = "Batch norm suffers from small batches, whose statistics are noisy below about 8",
      .method =
          "The same network with batch norm, layer norm and group norm (8 groups) is trained "
          "by Adam with batches of 2 to 256 samples, the learning rate growing as the "
          "square root of the batch. Afterwards batches of that size are drawn from test "
          "samples: how far is the mean of a batch from that of a large one, and how "
          "much do a sample's outputs in training mode depend on the samples beside it?",
      .x_label = "samples in a batch",
      .fixed = {"data.kind=digits", "data.size=8000", "data.validation=0.75",
                "model.hidden=[64, 64]", "model.groups=8", "optimizer.kind=adamw",
                "optimizer.weight_decay=0", "train.epochs=6", "train.last_batch=drop"},
      .varied = {"model.norm", "train.batch", "optimizer.learning_rate"},
      .run = Run};
}

Study StudyM1Cnn() {
  return {
      .name = "m1",
      .cnn = true,
      .claim =
          "In convolutional networks too, batch norm suffers from small batches, and group norm "
          "does not",
      .method =
          "The same network of convolutions (8 and 16 channels, two ConvBlocks each) with batch "
          "norm and group norm (4 groups) is trained by Adam with batches of 2 to 64 pictures, the "
          "learning rate growing as the square root of the batch. Afterwards batches of that size "
          "are drawn from test pictures: how far is the mean of a channel over a batch from that "
          "over a large one, and how much do a picture's outputs in training mode depend on the "
          "pictures beside it?",
      .x_label = "pictures in a batch",
      .fixed = {"model.kind=cnn", "model.channels=[8, 16]", "model.blocks=2", "model.groups=4",
                "data.kind=digits", "data.size=4000", "data.validation=0", "data.picture_size=16",
                "optimizer.kind=adamw", "optimizer.weight_decay=0", "train.epochs=4",
                "train.last_batch=drop"},
      .varied = {"model.norm", "train.batch", "optimizer.learning_rate"},
      .run = Run};
}

}  // namespace lockstep::tools
