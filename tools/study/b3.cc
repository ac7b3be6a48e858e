// B3: with batch norm, activations and gradients keep their scale through depth.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

// The scale of what passes between the blocks (linear, norm, activation) of an MLP: forward, how
// much a value differs from sample to sample (the deviation, as a root mean square over units); in
// backward, the root mean square of the gradient.
class Scales final : public StepObserver {
 public:
  Scales(int64_t first, int64_t stride) : first_(first), stride_(stride) {}

  void Before(const std::string&, bool) override {}
  void After(const std::string& layer, bool backward, ConstTensor result) override {
    if (layer.empty() || result.empty()) return;
    const int64_t child = std::stoll(layer) - first_;
    if (child < 0) return;
    const auto block = static_cast<size_t>(child / stride_);
    // The last layer of a block gives its activations; its first one the gradient of its input.
    if (!backward) {
      StoreAt(activations, block, Deviation(result));
    } else if (child % stride_ == 0 && block > 0) {
      StoreAt(gradients, block - 1, RootMeanSquare(result));
    }
  }

  std::vector<double> activations, gradients;  // of the outputs of the blocks

 private:
  static void StoreAt(std::vector<double>& values, size_t place, double value) {
    values.resize(std::max(values.size(), place + 1), 0.0);
    values[place] = value;
  }
  static double Deviation(ConstTensor t) {
    const auto v = t.span<float>();
    const auto rows = static_cast<size_t>(t.shape().batch());
    const size_t columns = v.size() / rows;
    double sum = 0.0;
    for (size_t c = 0; c < columns; ++c) {
      double mean = 0.0;
      for (size_t r = 0; r < rows; ++r) mean += double{v[r * columns + c]} / double(rows);
      for (size_t r = 0; r < rows; ++r) {
        const double d = double{v[r * columns + c]} - mean;
        sum += d * d;
      }
    }
    return std::sqrt(sum / static_cast<double>(v.size()));
  }
  static double RootMeanSquare(ConstTensor t) {
    double sum = 0.0;
    for (const float v : t.span<float>()) sum += double{v} * v;
    return std::sqrt(sum / static_cast<double>(t.size()));
  }

  int64_t first_, stride_;
};

constexpr double kKept = 10.0;  // a scale is kept if it changes by less than this factor

Status Run(Lab& lab, Findings& findings) {
  struct Init {
    std::string name, kind;
    double scale;
  };
  const std::vector<Init> inits = {{"small weights", "torch", 1.0},
                                   {"weights for ReLU", "kaiming_normal", 1.0},
                                   {"large weights", "kaiming_normal", 2.0}};
  const std::vector<std::string> norms = {"none", "batch"};
  std::vector<Settings> cases;
  std::vector<std::string> arms;
  for (const std::string& norm : norms) {
    for (const Init& init : inits) {
      cases.push_back({"model.norm=" + norm, "model.init=" + init.kind,
                       fmt::format("model.init_scale={:.1f}", init.scale)});
      arms.push_back((norm == "none" ? "no norm, " : "batch norm, ") + init.name);
    }
  }
  const int64_t batch = lab.recipe().train.batch;
  const Watch look = [&](const Look& at) -> Status {
    const Subset& train = lab.data().train;
    LOCKSTEP_TRY_ASSIGN(
        const Samples samples,
        Samples::Gather(*train.dataset, Draw(train.indices, batch,
                                             static_cast<uint64_t>(at.recipe.train.seed), 0)));
    const bool flat = train.dataset->info().x_shape.rank() == 1;
    Scales scales(flat ? 0 : 1, MlpOf(at.recipe).norm == "none" ? 2 : 3);
    const Status status =
        at.net.Gradients(samples.x(), samples.target(), {.observer = &scales}).status();
    // A net so deep that it explodes has no gradients; what came before counts.
    if (status.code() != Code::kNonFinite) LOCKSTEP_TRY(status);
    const size_t blocks = MlpOf(at.recipe).hidden.size();
    scales.activations.resize(blocks);
    scales.gradients.resize(blocks);
    at.outcome.more = {{"activation", scales.activations}, {"gradient", scales.gradients}};
    return Status::Ok();
  };
  lab.BindFor(batch);
  LOCKSTEP_TRY_ASSIGN(const auto outcomes, lab.Inspect(cases, look));

  const std::vector<std::pair<std::string, std::string>> metrics = {
      {"activation", "scale of activations"}, {"gradient", "scale of gradients"}};
  // ratio[metric][arm]: last block over first, or first over last, in the direction of travel.
  std::vector<std::vector<std::vector<double>>> ratio(2);
  for (size_t m = 0; m < metrics.size(); ++m) {
    const auto& [key, name] = metrics[m];
    for (size_t c = 0; c < cases.size(); ++c) {
      const size_t blocks = MlpOf(lab.recipe()).hidden.size();
      for (size_t b = 0; b < blocks; ++b) {
        findings.Add(name, arms[c], static_cast<double>(b + 1), outcomes[c],
                     [b, &of = key](const Outcome& o) { return o.more.at(of)[b]; });
      }
      std::vector<double> ratios;
      for (const Outcome& o : outcomes[c]) {
        const std::vector<double>& v = o.more.at(key);
        const double r = key == "activation" ? v.back() / v.front() : v.front() / v.back();
        ratios.push_back(std::isfinite(r) ? r : 0.0);  // 0 / 0: nothing came through
      }
      findings.Add(key + " that comes through", arms[c], 0.0, ratios);
      ratio[m].push_back(std::move(ratios));
    }
    findings.LeaveOutOfTable(name);
    findings.Plot(name, {.title = "The " + name + " by depth",
                         .x_label = "hidden layer",
                         .y_label = name,
                         .log_y = true});
  }

  const auto kept = [](const std::vector<double>& ratios) {
    const double r = Median(ratios);
    return r > 1.0 / kKept && r < kKept;
  };
  const auto range = [&](size_t m, size_t from, size_t to) {
    double low = HUGE_VAL, high = 0.0;
    for (size_t c = from; c < to; ++c) {
      low = std::min(low, Median(ratio[m][c]));
      high = std::max(high, Median(ratio[m][c]));
    }
    return std::string(m == 0 ? "from the first layer to the last"
                              : "from the last layer to the first") +
           " times " + Number(low) + " to " + Number(high);
  };
  const auto all = [&](size_t m, size_t from, size_t to) {
    bool met = true;
    for (size_t c = from; c < to; ++c) met = met && kept(ratio[m][c]);
    return met;
  };
  const size_t half = inits.size(), end = 2 * half;
  findings.Expect(!all(0, 0, half) || !all(1, 0, half),
                  "without norm, some of these initialisations let activations or gradients vanish "
                  "or explode",
                  "activations " + range(0, 0, half) + ", gradients " + range(1, 0, half));
  findings.Expect(all(0, half, end),
                  "with batch norm, activations keep their scale for all of them",
                  range(0, half, end));
  findings.Expect(all(1, half, end), "with batch norm, gradients keep their scale for all of them",
                  range(1, half, end));
  // The distance from 1, in powers of ten, of the worst initialisation.
  const auto worst = [&](size_t m, size_t from, size_t to) {
    double distance = 0.0;
    for (size_t c = from; c < to; ++c)
      distance = std::max(distance, std::abs(std::log10(std::max(Median(ratio[m][c]), 1e-300))));
    return distance;
  };
  findings.Expect(worst(1, half, end) < worst(1, 0, half),
                  "with the worst of the initialisations, gradients fare better with batch norm "
                  "than without",
                  fmt::format("{:.1f} powers of ten with it, {:.1f} without", worst(1, half, end),
                              worst(1, 0, half)));
  findings.Remark(fmt::format(
      "Without norm, weights suited to ReLU change activations by a factor of {} and gradients by "
      "{}: {}.",
      Number(Median(ratio[0][1])), Number(Median(ratio[1][1])),
      kept(ratio[0][1]) && kept(ratio[1][1]) ? "at the start, a good initialisation alone does it"
                                             : "a good initialisation alone does not do it"));
  return Status::Ok();
}

}  // namespace

Study StudyB3() {
  std::string hidden = "model.hidden=[100";
  for (int i = 1; i < 30; ++i) hidden += ", 100";
  return {.name = "b3",
          .claim =
              "Batch norm keeps activations and gradients from vanishing or exploding through "
              "depth",
          .method =
              "Plain networks of 30 hidden layers of 100 units with ReLU, as they begin: "
              "small weights (PyTorch's default), weights suited to ReLU (Kaiming's) and "
              "twice those, with and without batch norm. One batch goes forward and back. "
              "Measured are the deviation of activations between samples and the root mean "
              "square of gradients, behind each layer. A scale counts as kept where it "
              "changes by less than a factor of ten.",
          .x_label = "hidden layer",
          .fixed = {"data.kind=digits", "data.size=2000", "data.validation=0", hidden + "]",
                    "train.batch=256"},
          .varied = {"model.norm", "model.init", "model.init_scale"},
          .run = Run};
}

}  // namespace lockstep::tools
