// How a program runs; how it is planned stands in program_plan.cc.
#include "engine/plan/program.h"

#include <algorithm>
#include <cstring>

#include "engine/base/check.h"
#include "engine/ops/elementwise.h"

namespace lockstep::inline v0_1 {

const RowGrid& Step::rows(Rows rows) const { return program.rows(rows.id); }
std::byte* Step::BufferAt(int id) const { return program.buffer(id); }
std::byte* Step::StateAt(int id) const { return states + program.state_offset(id); }

void Program::SetShape(Tensor& tensor, const TensorSpec& spec) const {
  const Shape shape = spec.batched ? spec.shape.WithBatch(samples_) : spec.shape;
  tensor = Tensor(tensor.data(), tensor.dtype(), shape);
}

void Program::SetCut(const BatchCut& cut) {
  if (cut == cut_) return;
  LOCKSTEP_CHECK_LE(cut.samples(), graph_.options().samples);
  cut_ = cut;
  for (const auto& rows : rows_) rows->Set(cut);
  if (cut.samples() == samples_) return;
  samples_ = cut.samples();
  for (size_t v = 0; v < values_.size(); ++v) {
    const TensorSpec& spec = graph_.info({static_cast<int>(v)}).spec;
    if (!spec.batched) continue;
    SetShape(values_[v], spec);
    SetShape(gradients_[v], spec);
  }
  for (Run& run : runs_) {
    for (Run::Sum& sum : run.sums) SetShape(sum.from, graph_.info({sum.value}).spec);
  }
}

void Program::SetInput(size_t i, ConstTensor x) {
  const size_t input = Id(graph_.inputs()[i].value);
  // Values are written once and then only read, so they travel as Tensor; an input is never
  // written.
  auto* data = const_cast<void*>(x.data());
  if (values_[input].data() == data) return;
  SetAddress(members_[input], data);
}

// An output whose memory is not an input's or a parameter's is computed in the caller's memory.
void Program::SetOutput(size_t i, Tensor y) {
  if (!graph_.outputs()[i].value.valid()) return;
  redirected_[i] = y;
  const Home& home = value_homes_[Id(graph_.outputs()[i].value)];
  if (home.kind != Home::Kind::kBuffer) return;  // copied at the end of Forward
  void* data = y.empty() ? Address(home.buffer) : y.data();
  if (values_[Id(graph_.outputs()[i].value)].data() == data) return;
  SetAddress(members_[static_cast<size_t>(home.group)], data);
}

void Program::SetAddress(std::span<const size_t> values, void* data) {
  for (const size_t v : values) values_[v] = Tensor(data, values_[v].dtype(), values_[v].shape());
}

Result<Admission> Program::Admit(const BatchCut& cut) const {
  Admission all = Admission::kRun;
  for (const Graph::Node& node : graph_.nodes()) {
    const Result<Admission> one = node.operation->Admit(cut);
    if (!one.ok()) return one.status().At(graph_.NameOf(node));
    if (*one == Admission::kSkip) all = Admission::kSkip;
  }
  return all;
}

Status Program::Check(const Step& step, bool losses) const {
  for (const size_t i : checks_) {
    const Graph::Node& node = graph_.nodes()[i];
    if (node.loss >= 0 && !losses) continue;
    const Status status = node.operation->Check(step, {runs_[i].forward, false});
    if (!status.ok()) return node.path.empty() ? status : status.At(graph_.NameOf(node));
  }
  return Status::Ok();
}

double Program::LossWeight(const Step& step, size_t loss) const {
  const auto node = static_cast<size_t>(graph_.losses()[loss].node);
  const auto& operation = static_cast<const LossOperation&>(*graph_.nodes()[node].operation);
  return operation.Weight(step, {runs_[node].forward, false});
}

double Program::LossSum(size_t loss) const {
  const auto node = static_cast<size_t>(graph_.losses()[loss].node);
  return *values_[Id(graph_.nodes()[node].outputs[0])].as<double>();
}

void Program::Refresh(const Step& step) {
  if (derived_version_ == graph_.store().version()) return;
  for (size_t i = 0; i < runs_.size(); ++i) {
    const Graph::Node& node = graph_.nodes()[i];
    if (node.declared.from_parameters) node.operation->Forward(step, {runs_[i].forward, false});
  }
  derived_version_ = graph_.store().version();  // last: where one throws, all are made again
}

void Program::RunForward(const Step& step, size_t i, StepObserver* observer) {
  const Graph::Node& node = graph_.nodes()[i];
  const Operands operands(runs_[i].forward, false);
  if (node.declared.is_view && operands.x(0).data() == operands.y().data()) return;
  if (observer != nullptr) observer->Before(node.path, /*backward=*/false);
  node.operation->Forward(step, operands);
  if (observer != nullptr && node.loss < 0)
    observer->After(node.path, /*backward=*/false, operands.y());
}

void Program::Forward(const Step& step, bool losses, StepObserver* observer) {
  Refresh(step);
  for (const size_t i : in_order_) {
    if (graph_.nodes()[i].loss < 0 || losses) RunForward(step, i, observer);
  }
  for (size_t i = 0; i < redirected_.size(); ++i) {
    const ConstTensor y = output(i);
    if (!redirected_[i].empty() && redirected_[i].data() != y.data())
      std::memcpy(redirected_[i].data(), y.data(), y.bytes());
  }
}

bool Program::states_differ_by_rank() const {
  return std::any_of(graph_.nodes().begin(), graph_.nodes().end(),
                     [](const Graph::Node& node) { return node.declared.states_differ_by_rank; });
}

std::vector<int> Program::final_order() const {
  std::vector<int> order;
  for (size_t i = runs_.size(); i-- > 0;) {
    if (!flow_.runs(static_cast<int>(i))) continue;
    const std::vector<int>& final = runs_[i].final_parameters;
    order.insert(order.end(), final.begin(), final.end());
  }
  return order;
}

void Program::Backward(const Step& step, std::span<const double> factors, StepObserver* observer,
                       const std::function<void(int parameter)>* final) {
  LOCKSTEP_CHECK_EQ(factors.size(), loss_seeds_.size());
  std::copy(factors.begin(), factors.end(), loss_seeds_.begin());
  for (size_t i = runs_.size(); i-- > 0;) {
    const Run& run = runs_[i];
    if (!flow_.runs(static_cast<int>(i))) continue;
    const Graph::Node& node = graph_.nodes()[i];
    const Operands operands(run.backward, step.accumulate);
    const bool is_view = node.declared.is_view && operands.dx(0).data() == operands.dy().data();
    if (observer != nullptr) observer->Before(node.path, /*backward=*/true);
    for (const size_t again : times_.before(i)) RunForward(step, again, nullptr);
    if (!is_view) node.operation->Backward(step, operands);
    for (const Run::Sum& sum : run.sums) {
      ops::CopyOrAdd(step.ctx, sum.from.f32(), sum.into->size(), !sum.first || step.accumulate,
                     sum.into->f32());
    }
    if (observer != nullptr)
      observer->After(node.path, /*backward=*/true, node.loss < 0 ? operands.dx(0) : Tensor());
    if (final != nullptr) {
      for (const int parameter : run.final_parameters) (*final)(parameter);
    }
  }
}

}  // namespace lockstep
