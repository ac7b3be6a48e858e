#include "models/testing/trace.h"

#include <algorithm>
#include <cstring>

#include "engine/base/float_mode.h"
#include "engine/base/random.h"
#include "engine/optim/adam.h"

namespace lockstep::inline v0_1::checks {
namespace {

// The elements of a tensor of any type that states have, as floats.
std::vector<float> Numbers(ConstTensor tensor) {
  std::vector<float> numbers;
  const auto take = [&](auto span) {
    for (const auto number : span) numbers.push_back(static_cast<float>(number));
  };
  if (tensor.dtype() == DType::kI64) take(tensor.span<int64_t>());
  if (tensor.dtype() == DType::kI32) take(tensor.span<int32_t>());
  if (tensor.dtype() == DType::kF64) take(tensor.span<double>());
  if (tensor.dtype() == DType::kF32) take(tensor.span<float>());
  return numbers;
}

void FillNormals(Tensor tensor, uint64_t seed) {
  const std::vector<float> normals = Normals(tensor.size(), seed);
  std::copy(normals.begin(), normals.end(), tensor.f32());
}

}  // namespace

std::vector<float> Normals(int64_t count, uint64_t seed) {
  const ScopedFloatMode mode;  // the same numbers for a caller that rounds otherwise
  Random random(seed, StreamOf("network_test"));
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(random.Normal());
  return values;
}

Batch::Batch(const Subject& subject, const Network& net, int64_t samples, uint64_t seed) {
  const auto make = [](std::vector<double>& memory, DType dtype, const Shape& shape) {
    memory.resize(static_cast<size_t>(shape.size()) * SizeOf(dtype) / sizeof(double) + 1);
    return Tensor(memory.data(), dtype, shape);
  };
  x_ = make(x_memory_, subject.input_dtype, subject.input.WithBatch(samples));
  const Loss& loss = *net.loss();
  target_ = make(target_memory_, loss.target_dtype(),
                 loss.target_shape(net.output_shape().WithBatch(samples)));
  (subject.fill_x ? subject.fill_x : FillNormals)(x_, seed);
  (subject.fill_target ? subject.fill_target : FillNormals)(target_, seed + 1000);
}

Result<Network> BindSubject(const Subject& subject, Context& ctx, NetworkOptions options) {
  options.input = subject.input;
  options.input_dtype = subject.input_dtype;
  return Network::Bind(ctx, subject.layers(), subject.loss(), options);
}

Result<Trace> TraceOf(const Subject& subject, const TraceOptions& options) {
  Context ctx({.threads = options.threads});
  LOCKSTEP_TRY_ASSIGN(Network net, BindSubject(subject, ctx,
                                               {.seed = options.seed,
                                                .shards = options.shards,
                                                .share_memory = options.share,
                                                .fusion = options.fusion}));
  const std::unique_ptr<Optimizer> optimizer =
      subject.optimizer ? subject.optimizer() : std::make_unique<AdamW>(AdamWOptions{.lr = 1e-2});
  Trace trace;
  const int64_t batch = subject.input.batch();
  int step = 0;
  for (const int64_t samples : {batch, std::max<int64_t>(1, batch * 7 / 24), int64_t{2}, batch}) {
    const std::string at = "step " + std::to_string(step) + ": ";
    const auto add = [&](const std::string& what, bool evaluated, ConstTensor numbers) {
      trace.entries.push_back(
          {.what = at + what,
           .evaluated = evaluated,
           .numbers = numbers.empty() ? std::vector<float>() : Numbers(numbers)});
    };
    const auto add_loss = [&](const std::string& what, bool evaluated, double loss) {
      trace.entries.push_back(
          {.what = at + what, .evaluated = evaluated, .is_loss = true, .loss = loss});
    };
    const Batch data(subject, net, std::min(samples, batch),
                     options.seed + 10 + static_cast<uint64_t>(step));
    if (options.poison) Poison(net);
    const Result<double> loss = net.TrainStep(data.x(), data.target(), *optimizer);
    LOCKSTEP_TRY(loss.status().At(at + "training"));
    add_loss("loss", false, *loss);
    add("output", false, net.output());
    const ConstParameterSet parameters = net.parameters();
    for (size_t i = 0; i < parameters.infos.size(); ++i) {
      add("gradient of " + parameters.infos[i].name, false, parameters.gradient(i));
      add("parameter " + parameters.infos[i].name, false, parameters.value(i));
    }
    for (size_t i = 0; i < net.states().size(); ++i)
      add("state " + net.states()[i].name, false, net.state(i));
    if (options.evaluate) {
      if (options.poison) Poison(net);
      const Result<LossSum> sum = net.Evaluate(data.x(), data.target());
      LOCKSTEP_TRY(sum.status().At(at + "evaluation"));
      add_loss("loss of the evaluation", true, sum->sum);
      add("output of the evaluation", true, net.output());
    }
    ++step;
  }
  return trace;
}

std::vector<double> Trace::losses() const {
  std::vector<double> losses;
  for (const Entry& entry : entries) {
    if (entry.is_loss) losses.push_back(entry.loss);
  }
  return losses;
}

std::string Difference(const Trace& a, const Trace& b, bool training_only) {
  const auto of = [&](const Trace& trace) {
    std::vector<const Trace::Entry*> entries;
    for (const Trace::Entry& entry : trace.entries) {
      if (!training_only || !entry.evaluated) entries.push_back(&entry);
    }
    return entries;
  };
  const auto left = of(a), right = of(b);
  if (left.size() != right.size()) return "one of them did other steps";
  for (size_t i = 0; i < left.size(); ++i) {
    const Trace::Entry &one = *left[i], &other = *right[i];
    if (!(one.loss == other.loss)) {
      return one.what + " is " + std::to_string(one.loss) + " and " + std::to_string(other.loss);
    }
    if (one.numbers.size() != other.numbers.size()) return one.what + " is of two sizes";
    for (size_t k = 0; k < one.numbers.size(); ++k) {
      if (one.numbers[k] == other.numbers[k]) continue;
      return one.what + " [" + std::to_string(k) + "] is " + std::to_string(one.numbers[k]) +
             " and " + std::to_string(other.numbers[k]);
    }
  }
  return "";
}

void Poison(const Network& net) {
  const std::span<std::byte> memory = net.step_memory();
  std::memset(memory.data(), 0xFF, memory.size());
}

std::string FirstDifference(const std::string& what, std::span<const float> a,
                            std::span<const float> b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(a[i] == b[i])) {
      return what + " [" + std::to_string(i) + "] is " + std::to_string(a[i]) + " and " +
             std::to_string(b[i]);
    }
  }
  return "";
}

}  // namespace lockstep::checks
