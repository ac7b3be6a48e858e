// engine/train/jacobian.cc — the loss of the program is L = sum over s, k of v(s, k) y(s, k), with
// v a further input: its gradient by x(s, i) is sum over k of v(s, k) J(s, k, i), for in evaluation
// y(s) depends on x(s) alone. Full gives row r = s K + k the sample s and v(r) = the k-th unit
// vector: the gradient of row r is then the row (s, k) of J, which lies where J has it.
#include "engine/train/jacobian.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/base/catch.h"
#include "engine/ops/elementwise.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kRowsOfOneSample = 32;  // JacobianOptions::rows = 0
constexpr int64_t kLine = 64;             // bytes

// sum v y, of which nobody asks but the gradient.
class Seeded final : public LossOperation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec>, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{
        .outputs = {{Shape{1}, DType::kF64}}, .reads_x = {false, true}, .accumulates_dx = {true}};
  }
  double Weight(const Step&, const Operands&) const override { return 1.0; }
  void Forward(const Step&, const Operands& o) override { *o.y().as<double>() = 0.0; }
  void Backward(const Step& step, const Operands& o) override {
    ops::CopyOrAdd(step.ctx, o.x_f32(1), o.dx(0).size(), o.accumulate(0), o.dx_f32(0));
  }
};

bool IsDifferentiable(const TensorSpec& spec) { return spec.batched && spec.dtype == DType::kF32; }

}  // namespace

Result<Jacobian> Jacobian::Make(const Network& network, const JacobianOptions& options) {
  return StatusOf([&]() -> Result<Jacobian> {
    if (options.rows < 0)
      return Status::Invalid("rows must be 0 or more, not " + std::to_string(options.rows));
    Jacobian made;
    made.ctx_ = &network.context();
    made.store_ = &network.store();
    const Graph& graph = network.evaluation_program().graph();
    for (size_t i = 0; i < graph.inputs().size(); ++i) {
      if (graph.IsTarget(i)) continue;
      const Graph::Input& input = graph.inputs()[i];
      made.inputs_.push_back({.name = input.name, .spec = graph.spec(input.value), .value = i});
    }
    const bool any = std::any_of(made.inputs_.begin(), made.inputs_.end(),
                                 [](const Place& input) { return IsDifferentiable(input.spec); });
    if (!any) {
      const Place& first = made.inputs_.front();
      return Status::Invalid(
          "there are derivatives by f32 inputs only, and this network has none: " + first.name +
          " is " + NameOf(first.spec.dtype));
    }
    std::vector<std::string> names = options.outputs;
    if (names.empty()) names.push_back(graph.outputs().front().name);
    int64_t numbers = 1;  // of the largest output
    for (const std::string& name : names) {
      size_t at = 0;
      while (at < graph.outputs().size() && graph.outputs()[at].name != name) ++at;
      if (at == graph.outputs().size()) {
        return Status::NotFound("the network has no output " + name + "; it has " +
                                graph.outputs().front().name +
                                ", and layers of NetworkOptions::layer_outputs");
      }
      const TensorSpec& spec = graph.spec(graph.outputs()[at].value);
      if (!IsDifferentiable(spec)) {
        return Status::Invalid("output " + name + " is " + NameOf(spec.dtype) + " " +
                               spec.shape.ToString() +
                               ", there are derivatives of f32 (batch, ...)");
      }
      made.outputs_.push_back({.name = name, .spec = spec, .value = at});
      numbers = std::max(numbers, spec.shape.sample_size());
    }
    made.rows_ = options.rows > 0 ? options.rows
                                  : std::max(network.batch(), std::min(numbers, kRowsOfOneSample));

    LOCKSTEP_TRY_ASSIGN(made.program_,
                        network.BuildForDerivatives(
                            made.rows_, [&](Graph& of) { return made.Seed(of); }, made.memory_));
    int64_t bytes = 0;
    for (std::vector<Place>* places : {&made.inputs_, &made.outputs_}) {
      for (Place& place : *places) {
        place.room = bytes;
        const int64_t needed = made.rows_ * place.spec.shape.sample_size() *
                               static_cast<int64_t>(SizeOf(place.spec.dtype));
        bytes += (needed + kLine - 1) / kLine * kLine;
      }
    }
    made.staging_ = PageMemory(*made.ctx_, bytes);
    made.pass_inputs_.resize(made.inputs_.size());
    made.pass_v_.resize(made.outputs_.size());
    made.factors_.assign(made.outputs_.size(), 1.0);
    return made;
  });
}

// In place of the losses of the model.
Status Jacobian::Seed(Graph& graph) {
  for (const Place& input : inputs_) {
    if (IsDifferentiable(input.spec)) graph.WantGradient(input.value);
  }
  for (Place& output : outputs_) {
    const Value y = graph.outputs()[output.value].value;
    const std::string name = "derivative of " + output.name;
    output.seed = graph.inputs().size();
    LOCKSTEP_TRY_ASSIGN(const Value v, graph.AddInput(name, graph.shape(y)));
    LOCKSTEP_TRY(graph.AddLoss(name, Seeded(), {y, v}));
  }
  return Status::Ok();
}

Status Jacobian::CheckRows(const Place& place, const char* what, ConstTensor given,
                           int64_t samples) {
  const Shape want = place.spec.shape.WithBatch(samples);
  if (given.dtype() == place.spec.dtype && given.shape() == want &&
      (!given.empty() || want.size() == 0)) {
    return Status::Ok();
  }
  return Status::Invalid(std::string(what) + place.name + " is " + NameOf(given.dtype()) + " " +
                         given.shape().ToString() + (given.empty() ? " and null" : "") +
                         ", expected " + NameOf(place.spec.dtype) + " " + want.ToString());
}

Status Jacobian::CheckInputs(std::span<const ConstTensor> inputs) const {
  if (inputs.size() != inputs_.size()) {
    return Status::Invalid("the network takes " + std::to_string(inputs_.size()) +
                           " inputs that are no targets, not " + std::to_string(inputs.size()));
  }
  if (inputs[0].shape().rank() < 1) return Status::Invalid(inputs_[0].name + " has no samples");
  for (size_t i = 0; i < inputs.size(); ++i)
    LOCKSTEP_TRY(CheckRows(inputs_[i], "", inputs[i], inputs[0].shape().batch()));
  return Status::Ok();
}

Tensor Jacobian::Room(const Place& place, int64_t rows) const {
  return {staging_.data() + place.room, place.spec.dtype, place.spec.shape.WithBatch(rows)};
}

Status Jacobian::Pass(int64_t rows) {
  return StatusOf([&] {
    const BatchCut cut = BatchCut::Whole(rows, 1);
    LOCKSTEP_TRY(program_->Admit(cut).status());
    program_->SetCut(cut);
    for (size_t i = 0; i < inputs_.size(); ++i)
      program_->SetInput(inputs_[i].value, pass_inputs_[i]);
    for (size_t o = 0; o < outputs_.size(); ++o) program_->SetInput(outputs_[o].seed, pass_v_[o]);
    const Step step{.ctx = *ctx_,
                    .program = *program_,
                    .cut = cut,
                    .states = store_->state_memory(/*staged=*/false),
                    .backward_follows = true};
    LOCKSTEP_TRY(program_->Check(step, /*losses=*/false));
    program_->Forward(step, /*losses=*/false);
    program_->Backward(step, factors_);
    return Status::Ok();
  });
}

void Jacobian::TakeGradient(size_t input, int64_t rows, float* to) const {
  const int64_t count = rows * inputs(input);
  const ConstTensor gradient = program_->input_gradient(inputs_[input].value);
  if (gradient.empty()) {  // no output depends on it
    std::fill_n(to, count, 0.0f);
  } else {
    std::copy_n(gradient.f32(), count, to);
  }
}

Status Jacobian::VectorProduct(std::span<const ConstTensor> inputs, std::span<const ConstTensor> v,
                               std::span<const Tensor> dx, std::span<const Tensor> y) {
  LOCKSTEP_TRY(CheckInputs(inputs));
  const int64_t samples = inputs[0].shape().batch();
  if (v.size() != outputs_.size() || dx.size() != inputs_.size() || y.size() > outputs_.size()) {
    return Status::Invalid("v is given for " + std::to_string(v.size()) + " outputs of " +
                           std::to_string(outputs_.size()) + ", dx for " +
                           std::to_string(dx.size()) + " inputs of " +
                           std::to_string(inputs_.size()) + ", y for " + std::to_string(y.size()));
  }
  for (size_t o = 0; o < v.size(); ++o) {
    if (!v[o].empty()) LOCKSTEP_TRY(CheckRows(outputs_[o], "v of ", v[o], samples));
    if (o < y.size() && !y[o].empty()) LOCKSTEP_TRY(CheckRows(outputs_[o], "", y[o], samples));
  }
  for (size_t i = 0; i < dx.size(); ++i) {
    if (dx[i].empty()) continue;
    if (!IsDifferentiable(inputs_[i].spec)) {
      return Status::Invalid("there are no derivatives by " + inputs_[i].name + ", which is " +
                             NameOf(inputs_[i].spec.dtype) + "; leave its dx empty");
    }
    LOCKSTEP_TRY(CheckRows(inputs_[i], "dx of ", dx[i], samples));
  }
  for (int64_t begin = 0; begin < samples; begin += rows_) {
    const int64_t end = std::min(samples, begin + rows_), rows = end - begin;
    for (size_t i = 0; i < inputs.size(); ++i) pass_inputs_[i] = inputs[i].Samples(begin, end);
    for (size_t o = 0; o < v.size(); ++o) {
      if (v[o].empty()) {
        const Tensor zeros = Room(outputs_[o], rows);
        std::fill_n(zeros.f32(), zeros.size(), 0.0f);
        pass_v_[o] = zeros;
      } else {
        pass_v_[o] = v[o].Samples(begin, end);
      }
    }
    LOCKSTEP_TRY(Pass(rows));
    for (size_t i = 0; i < dx.size(); ++i) {
      if (!dx[i].empty()) TakeGradient(i, rows, dx[i].f32() + begin * this->inputs(i));
    }
    for (size_t o = 0; o < y.size(); ++o) {
      if (!y[o].empty())
        std::copy_n(program_->output(outputs_[o].value).f32(), rows * outputs(o),
                    y[o].f32() + begin * outputs(o));
    }
  }
  return Status::Ok();
}

Status Jacobian::VectorProduct(ConstTensor x, ConstTensor v, Tensor dx) {
  return VectorProduct({&x, 1}, {&v, 1}, {&dx, 1});
}

Status Jacobian::Full(std::span<const ConstTensor> inputs, Tensor jacobian, size_t output,
                      size_t input, Tensor y) {
  LOCKSTEP_TRY(CheckInputs(inputs));
  if (output >= outputs_.size() || input >= inputs_.size()) {
    return Status::Invalid("there is no output " + std::to_string(output) + " or no input " +
                           std::to_string(input) + ": of outputs there are " +
                           std::to_string(outputs_.size()) + ", of inputs " +
                           std::to_string(inputs_.size()));
  }
  if (!IsDifferentiable(inputs_[input].spec)) {
    return Status::Invalid("there are no derivatives by " + inputs_[input].name + ", which is " +
                           NameOf(inputs_[input].spec.dtype));
  }
  const int64_t samples = inputs[0].shape().batch(), numbers = outputs(output);
  const int64_t width = this->inputs(input);
  if (jacobian.dtype() != DType::kF32 || jacobian.shape().rank() < 1 ||
      jacobian.shape().batch() != samples || jacobian.size() != samples * numbers * width ||
      (jacobian.empty() && jacobian.size() > 0)) {
    return Status::Invalid(std::string("the Jacobian is ") + NameOf(jacobian.dtype()) + " " +
                           jacobian.shape().ToString() + (jacobian.empty() ? " and null" : "") +
                           ", expected f32 " + Shape{samples, numbers, width}.ToString());
  }
  if (!y.empty()) LOCKSTEP_TRY(CheckRows(outputs_[output], "", y, samples));
  for (int64_t done = 0; done < samples * numbers; done += rows_) {
    const int64_t rows = std::min(rows_, samples * numbers - done);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (numbers == 1) {  // a row is a sample
        pass_inputs_[i] = inputs[i].Samples(done, done + rows);
        continue;
      }
      const Tensor room = Room(inputs_[i], rows);
      const size_t bytes = room.bytes() / static_cast<size_t>(rows);
      for (int64_t r = 0; r < rows; ++r) {
        std::memcpy(static_cast<std::byte*>(room.data()) + static_cast<size_t>(r) * bytes,
                    static_cast<const std::byte*>(inputs[i].data()) +
                        static_cast<size_t>((done + r) / numbers) * bytes,
                    bytes);
      }
      pass_inputs_[i] = room;
    }
    for (size_t o = 0; o < outputs_.size(); ++o) {
      const Tensor v = Room(outputs_[o], rows);
      std::fill_n(v.f32(), v.size(), 0.0f);
      for (int64_t r = 0; o == output && r < rows; ++r)
        v.f32()[r * numbers + (done + r) % numbers] = 1.0f;
      pass_v_[o] = v;
    }
    LOCKSTEP_TRY(Pass(rows));
    TakeGradient(input, rows, jacobian.f32() + done * width);
    const float* values = program_->output(outputs_[output].value).f32();
    for (int64_t r = 0; !y.empty() && r < rows; ++r) {
      if ((done + r) % numbers == 0)
        std::copy_n(values + r * numbers, numbers, y.f32() + (done + r) / numbers * numbers);
    }
  }
  return Status::Ok();
}

Status Jacobian::Full(ConstTensor x, Tensor jacobian, Tensor y) {
  return Full({&x, 1}, jacobian, 0, 0, y);
}

}  // namespace lockstep
