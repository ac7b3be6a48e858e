#include "models/testing/check_optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "layers/activation.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/norm/layer_norm.h"
#include "models/testing/subject_checks.h"

namespace lockstep::inline v0_1::checks {
namespace {

using Make = std::function<std::unique_ptr<Optimizer>()>;

constexpr int kSteps = 5;

Subject SubjectFor(const Make& make) {
  return {.layers =
              [] {
                return std::make_unique<Sequential>(
                    Sequential(Linear(19), LayerNorm(), Relu(), Linear(3)));
              },
          .loss = [] { return std::make_unique<MseLoss>(); },
          .input = {24, 7},
          .optimizer = make};
}

Status Gradients(Network& net, const Batch& data, int step) {
  return net.Gradients(data.x(), data.target(), {.index = static_cast<uint64_t>(step)}).status();
}

Result<std::string> Frozen(const Make& make, uint64_t seed) {
  Context ctx({.threads = 1});
  const Subject subject = SubjectFor(make);
  LOCKSTEP_TRY_ASSIGN(Network net,
                      BindSubject(subject, ctx, {.seed = seed, .frozen = {"0.*", "3.bias"}}));
  const std::vector<float> before(net.parameters().values.begin(), net.parameters().values.end());
  const Batch data(subject, net, subject.input.batch(), seed + 1);
  const std::unique_ptr<Optimizer> optimizer = make();
  for (int step = 0; step < kSteps; ++step)
    LOCKSTEP_TRY(net.TrainStep(data.x(), data.target(), *optimizer).status());
  const ConstParameterSet parameters = net.parameters();
  bool moved = false;
  for (size_t i = 0; i < parameters.infos.size(); ++i) {
    const ParameterInfo& info = parameters.infos[i];
    const auto now = parameters.value(i).span<float>();
    const bool same = std::equal(now.begin(), now.end(), before.begin() + info.offset);
    if (info.frozen && !same) return info.name + " is frozen, and has changed";
    moved = moved || !same;
  }
  return std::string(moved ? "" : "no parameter has moved in some steps");
}

// Two optimizers for the two halves of the flat arrays; the cut goes through a parameter.
Result<std::string> Parts(const Make& make, uint64_t seed) {
  Context ctx({.threads = 1});
  const Subject subject = SubjectFor(make);
  LOCKSTEP_TRY_ASSIGN(Network whole, BindSubject(subject, ctx, {.seed = seed}));
  LOCKSTEP_TRY_ASSIGN(Network halves, BindSubject(subject, ctx, {.seed = seed}));
  const auto floats = static_cast<int64_t>(whole.parameters().values.size());
  const std::array ranges{IndexRange{0, floats / 3}, IndexRange{floats / 3, floats}};
  const std::unique_ptr<Optimizer> one = make();
  const std::array<std::unique_ptr<Optimizer>, 2> two{make(), make()};
  LOCKSTEP_TRY(one->Bind(ctx, whole.store().ParametersToWrite()));
  for (size_t i = 0; i < 2; ++i)
    LOCKSTEP_TRY(two[i]->Bind(ctx, halves.store().ParametersToWrite(), {&ranges[i], 1}));
  const Batch data(subject, whole, subject.input.batch(), seed + 1);
  for (int step = 0; step < kSteps; ++step) {
    LOCKSTEP_TRY(Gradients(whole, data, step));
    LOCKSTEP_TRY(Gradients(halves, data, step));
    const ParameterWriter of_whole = whole.Write(), of_halves = halves.Write();
    LOCKSTEP_TRY(one->Update(ctx, *of_whole, one->learning_rate()));
    for (const auto& half : two) LOCKSTEP_TRY(half->Update(ctx, *of_halves, half->learning_rate()));
  }
  const std::string found =
      FirstDifference("parameter", whole.parameters().values, halves.parameters().values);
  return found.empty() ? found : "held by two, and by one: " + found;
}

// Gradients times 4, a power of two that changes no digit, with grad_scale 1/4.
Result<std::string> Scale(const Make& make, uint64_t seed) {
  Context ctx({.threads = 1});
  const Subject subject = SubjectFor(make);
  std::array<std::vector<float>, 2> after;
  for (size_t way = 0; way < 2; ++way) {
    LOCKSTEP_TRY_ASSIGN(Network net, BindSubject(subject, ctx, {.seed = seed}));
    const std::unique_ptr<Optimizer> optimizer = make();
    LOCKSTEP_TRY(optimizer->Bind(ctx, net.store().ParametersToWrite()));
    const Batch data(subject, net, subject.input.batch(), seed + 1);
    for (int step = 0; step < kSteps; ++step) {
      const double factor = way == 0 ? 1.0 : 4.0;
      LOCKSTEP_TRY(net.Gradients(data.x(), data.target(),
                                 {.index = static_cast<uint64_t>(step), .gradient_scale = factor})
                       .status());
      const ParameterWriter writer = net.Write();
      LOCKSTEP_TRY(optimizer->Update(ctx, *writer, optimizer->learning_rate(), 1.0 / factor));
    }
    after[way].assign(net.parameters().values.begin(), net.parameters().values.end());
  }
  for (size_t i = 0; i < after[0].size(); ++i) {
    if (std::abs(after[0][i] - after[1][i]) <= 1e-6f * (1.0f + std::abs(after[0][i]))) continue;
    return "gradients times 4 at grad_scale 1/4 give " + std::to_string(after[1][i]) +
           " where they give " + std::to_string(after[0][i]) + " by themselves";
  }
  return std::string();
}

Result<std::string> Refusals(const Make& make, uint64_t seed) {
  Context ctx({.threads = 1});
  Subject subject = SubjectFor(make);
  LOCKSTEP_TRY_ASSIGN(Network net, BindSubject(subject, ctx, {.seed = seed}));
  subject.layers = [] { return std::make_unique<Linear>(3); };
  LOCKSTEP_TRY_ASSIGN(Network other, BindSubject(subject, ctx, {.seed = seed}));
  const std::unique_ptr<Optimizer> optimizer = make();
  if (optimizer->bound()) return std::string("it says that it is bound before Bind");
  LOCKSTEP_TRY(optimizer->Bind(ctx, net.store().ParametersToWrite()));
  if (!optimizer->bound()) return std::string("it says that it is not bound after Bind");
  const Batch data(subject, net, subject.input.batch(), seed + 1);
  LOCKSTEP_TRY(Gradients(net, data, 0));
  if (optimizer->Update(ctx, other.store().ParametersToWrite(), 1e-3).ok())
    return std::string("it updates the parameters of another network than it was bound to");
  const ParameterWriter writer = net.Write();
  writer->gradients[static_cast<size_t>(writer->infos.back().offset)] =
      std::numeric_limits<float>::quiet_NaN();
  if (optimizer->Update(ctx, *writer, 1e-3).ok())
    return std::string("it takes a gradient that is NaN without an error");
  return std::string();
}

}  // namespace

CheckReport CheckOptimizer(const Make& make, const CheckOptions& options) {
  CheckOptions of_subject = options;
  // Those that are about layers and losses.
  for (const char* const name : {"gradients", "accumulation", "memory", "fusion", "evaluation"})
    of_subject.leave_out.push_back(name);
  CheckLog log(of_subject);
  const std::string where = "a small network";
  CheckSubject(SubjectFor(make), where, of_subject, /*samples_mix=*/false, log);
  log.Make("frozen", where, [&] { return TextOf(Frozen(make, options.seed)); });
  log.Make("parts", where, [&] { return TextOf(Parts(make, options.seed)); });
  log.Make("scale", where, [&] { return TextOf(Scale(make, options.seed)); });
  log.Make("refusals", where, [&] { return TextOf(Refusals(make, options.seed)); });
  return log.report();
}

}  // namespace lockstep::checks
