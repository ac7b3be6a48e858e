// layers/sequential.cc
//   forward   x_0 = x,  x_{i+1} = stage_i(x_i),  y = x_n
//   backward  dx_n = dy,  dx_i = dstage_i(dx_{i+1}),  dx = dx_0
#include "layers/sequential.h"

#include <algorithm>

#include "engine/base/check.h"

namespace lockstep {
namespace {

// Moments of a step in the order they come: forward by rising tick, then backward by falling tick.
bool Later(Moment a, Moment b) {
  if (a.backward != b.backward) return a.backward;
  return a.backward ? a.tick < b.tick : a.tick > b.tick;
}

struct Lifetime {
  Moment from{}, to{};
  int64_t floats = 0;
  bool used = false;

  void Cover(Moment first, Moment last, int64_t size) {
    if (!used || Later(from, first)) from = first;
    if (!used || Later(last, to)) to = last;
    floats = std::max(floats, size);
    used = true;
  }
};

}  // namespace

Sequential& Sequential::Add(std::unique_ptr<Layer> layer) {
  LOCKSTEP_CHECK(stages_.empty(), "layers are added before Bind");
  LOCKSTEP_CHECK(layer != nullptr, "a layer is needed");
  children_.push_back(std::move(layer));
  return *this;
}

Result<Bound> Sequential::Bind(const Shape& in, Planner& plan) {
  LOCKSTEP_CHECK(stages_.empty(), "a layer is bound at most once");
  if (children_.empty()) return Status::Invalid("a Sequential needs at least one layer");
  FuseNeighbours(plan);
  shapes_ = {in};
  double flops = 0.0;
  size_t next_stage = 0;
  for (size_t child = 0; child < children_.size(); ++child) {
    if (next_stage == stages_.size() || stages_[next_stage].layer != children_[child].get())
      continue;  // taken over
    Stage& stage = stages_[next_stage++];
    const size_t parameters = plan.parameters().size();
    LOCKSTEP_TRY_ASSIGN(const BoundIn bound,
                        BindInScope(*stage.layer, std::to_string(child), shapes_.back(), plan));
    stage.path =
        plan.path().empty() ? std::to_string(child) : plan.path() + "." + std::to_string(child);
    stage.bound = bound.bound;
    stage.begin = bound.begin;
    stage.end = bound.end;
    stage.has_parameters = plan.parameters().size() > parameters;
    flops += bound.bound.flops;
    shapes_.push_back(bound.bound.out);
  }
  first_trained_ = 0;
  while (first_trained_ + 1 < stages_.size() && !stages_[first_trained_].has_parameters)
    ++first_trained_;
  PlaceValues(plan);
  if (plan.training()) PlaceGradients(plan);

  Bound bound{.out = shapes_.back(), .flops = flops};
  for (size_t i = 0; i < stages_.size(); ++i) {
    const auto held = [&](Place::In where) {
      return (stages_[i].bound.needs_x && values_[i].in == where) ||
             (stages_[i].bound.needs_y && values_[i + 1].in == where);
    };
    bound.needs_x = bound.needs_x || held(Place::In::kX);
    bound.needs_y = bound.needs_y || held(Place::In::kY);
  }
  return bound;
}

void Sequential::FuseNeighbours(Planner& plan) {
  for (size_t i = 0; i < children_.size(); ++i) {
    Stage stage{.layer = children_[i].get()};
    if (i + 1 < children_.size()) {
      Layer& next = *children_[i + 1];
      if (const auto activation = next.AsActivation();
          activation && stage.layer->FuseActivation(*activation)) {
        plan.Note(std::to_string(i) + " " + stage.layer->kind() + " applies " +
                  std::to_string(i + 1) + " " + next.kind());
        stage.activation = *activation;
        ++i;
      } else if (next.AsChannelNorm() != nullptr && stage.layer->FuseNorm(next.AsChannelNorm())) {
        plan.Note(std::to_string(i) + " " + stage.layer->kind() + " takes the moments for " +
                  std::to_string(i + 1) + " " + next.kind() +
                  ", and holds it folded in evaluation");
        stage.serves_norm = true;
      }
    }
    stages_.push_back(stage);
  }
  // A norm at the end applies it by itself, but not where it is folded into the product before it.
  if (last_activation_ != kernels::Activation::kNone) stages_.back().activation = last_activation_;
}

void Sequential::PlaceValues(Planner& plan) {
  const size_t n = stages_.size();
  values_.resize(n + 1);
  for (size_t b = 0; b <= n; ++b) values_[b].group = b;
  values_[0].in = Place::In::kX;
  // Whether backward reads what lies in the memory of boundary b: views and stages that wrote over
  // their input may have brought it there from further in front.
  const auto held = [&](size_t b) {
    for (size_t i = 0; i < b; ++i) {
      if ((stages_[i].bound.needs_x && values_[i].group == values_[b].group) ||
          (stages_[i].bound.needs_y && values_[i + 1].group == values_[b].group)) {
        return true;
      }
    }
    return false;
  };
  for (size_t i = 0; i + 1 < n; ++i) {
    const Bound& bound = stages_[i].bound;
    const bool may_overwrite =
        bound.y_may_be_x && !bound.needs_x && values_[i].in != Place::In::kX && !held(i);
    // Evaluation writes a folded norm straight to where the norm's output goes.
    if (bound.view || may_overwrite) values_[i + 1] = values_[i];
  }
  values_[n].in = Place::In::kY;
  // Views at the end lie in the caller's y already, unless they are views of the caller's x.
  for (size_t i = n; i-- > 1 && stages_[i].bound.view && values_[i].in == Place::In::kBuffer;) {
    const size_t group = values_[i].group;
    for (size_t b = 0; b < n; ++b) {
      if (values_[b].in == Place::In::kBuffer && values_[b].group == group)
        values_[b].in = Place::In::kY;
    }
  }

  std::vector<Lifetime> lifetimes(n + 1);
  for (size_t b = 1; b < n; ++b) {
    if (values_[b].in != Place::In::kBuffer) continue;
    const Stage& producer = stages_[b - 1];
    const Stage& consumer = stages_[b];
    Moment last = {consumer.end, false};
    if (plan.training() && consumer.bound.needs_x) last = {consumer.begin, true};
    if (plan.training() && producer.bound.needs_y)
      last = {producer.begin, true};  // later than the consumer's
    // A folded product writes this boundary's successor while it runs, hence from the producer's
    // producer on.
    const Moment first = {
        b >= 2 && stages_[b - 2].serves_norm ? stages_[b - 2].begin : producer.begin, false};
    lifetimes[values_[b].group].Cover(first, last, shapes_[b].size());
  }
  std::vector<Buffer<float>> buffers(n + 1);
  for (size_t g = 0; g <= n; ++g) {
    if (lifetimes[g].used)
      buffers[g] = plan.BookBetween<float>(lifetimes[g].floats, lifetimes[g].from, lifetimes[g].to);
  }
  for (Place& place : values_) {
    if (place.in == Place::In::kBuffer) place.buffer = buffers[place.group];
  }
}

void Sequential::PlaceGradients(Planner& plan) {
  const size_t n = stages_.size();
  gradients_.resize(n + 1);
  for (size_t b = 0; b <= n; ++b) gradients_[b].group = b;
  gradients_[n].in = Place::In::kY;
  gradients_[0].in = Place::In::kX;
  for (size_t i = 0; i + 1 < n && stages_[i].bound.view; ++i) gradients_[i + 1].in = Place::In::kX;
  for (size_t i = n; i-- > 1;) {
    if (gradients_[i].in == Place::In::kX) break;
    const Bound& bound = stages_[i].bound;
    const bool may_overwrite = bound.dx_may_be_dy && gradients_[i + 1].in == Place::In::kBuffer;
    if (bound.view || may_overwrite) gradients_[i] = gradients_[i + 1];
  }
  std::vector<Lifetime> lifetimes(n + 1);
  for (size_t b = 1; b < n; ++b) {
    if (gradients_[b].in != Place::In::kBuffer) continue;
    lifetimes[gradients_[b].group].Cover({stages_[b].end, true}, {stages_[b - 1].begin, true},
                                         shapes_[b].size());
  }
  std::vector<Buffer<float>> buffers(n + 1);
  for (size_t g = 0; g <= n; ++g) {
    if (lifetimes[g].used)
      buffers[g] = plan.BookBetween<float>(lifetimes[g].floats, lifetimes[g].from, lifetimes[g].to);
  }
  for (Place& place : gradients_) {
    if (place.in == Place::In::kBuffer) place.buffer = buffers[place.group];
  }
}

ConstTensor Sequential::Value(const Step& step, size_t boundary, int64_t samples, ConstTensor x,
                              ConstTensor y) const {
  const Place& place = values_[boundary];
  const Shape shape = shapes_[boundary].WithBatch(samples);
  switch (place.in) {
    case Place::In::kX:
      return x.empty() ? x : x.Reshaped(shape);
    case Place::In::kY:
      return y.empty() ? y : y.Reshaped(shape);
    case Place::In::kBuffer:
      break;
  }
  return {step[place.buffer], shape};
}

Tensor Sequential::Gradient(const Step& step, size_t boundary, int64_t samples, ConstTensor dy,
                            Tensor dx) const {
  const Place& place = gradients_[boundary];
  const Shape shape = shapes_[boundary].WithBatch(samples);
  switch (place.in) {
    case Place::In::kX:
      return dx.empty() ? dx : dx.Reshaped(shape);
    case Place::In::kY:  // only ever read: nothing but a view stands between this boundary and the
                         // end
      return {const_cast<void*>(dy.data()), dy.dtype(), shape};
    case Place::In::kBuffer:
      break;
  }
  return {step[place.buffer], shape};
}

void Sequential::Forward(const Step& step, ConstTensor x, Tensor y) { Run(step, x, nullptr, y); }

void Sequential::ForwardAdd(const Step& step, ConstTensor x, ConstTensor add, Tensor y) {
  Run(step, x, &add, y);
}

void Sequential::Run(const Step& step, ConstTensor x, const ConstTensor* add, Tensor y) {
  const size_t n = stages_.size();
  const int64_t samples = x.shape().batch();
  // Values are written once and then only read, so they travel as ConstTensor; what a stage writes
  // is ours to write.
  const auto writable = [&](size_t boundary) {
    const ConstTensor value = Value(step, boundary, samples, x, y);
    return Tensor(const_cast<void*>(value.data()), value.dtype(), value.shape());
  };
  ConstTensor in = Value(step, 0, samples, x, y);
  for (size_t i = 0; i < n; ++i) {
    const Stage& stage = stages_[i];
    const bool last_adds = add != nullptr && i + 2 >= n;
    if (step.observer != nullptr) step.observer->Before(stage.path, /*backward=*/false);
    const bool folds = stage.serves_norm && !step.training() && !last_adds;
    if (folds) ++i;
    const Tensor out = writable(i + 1);
    if (folds) {
      stage.layer->ForwardFolded(step, in, stages_[i].activation, out);
    } else if (add != nullptr && i + 1 == n) {
      stage.layer->ForwardAdd(step, in, *add, out);
    } else if (!stage.bound.view || in.data() != out.data()) {
      stage.layer->Forward(step, in, out);
    }
    if (step.observer != nullptr) step.observer->After(stage.path, /*backward=*/false, out);
    in = out;
  }
}

void Sequential::Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy,
                          Tensor dx) {
  RunBackward(step, x, y, dy, dx, nullptr);
}

void Sequential::BackwardAdd(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy,
                             Tensor dx, Tensor d_add) {
  RunBackward(step, x, y, dy, dx, &d_add);
}

void Sequential::RunBackward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy,
                             Tensor dx, Tensor* d_add) {
  const size_t n = stages_.size();
  const int64_t samples = dy.shape().batch();
  for (size_t i = n; i-- > 0;) {
    const Stage& stage = stages_[i];
    if (dx.empty() && i < first_trained_) break;
    const ConstTensor stage_x = stage.bound.needs_x ? Value(step, i, samples, x, y) : ConstTensor();
    const ConstTensor stage_y =
        stage.bound.needs_y ? Value(step, i + 1, samples, x, y) : ConstTensor();
    const ConstTensor stage_dy = Gradient(step, i + 1, samples, dy, dx);
    const bool wanted = !dx.empty() || i > first_trained_;
    const Tensor stage_dx = wanted ? Gradient(step, i, samples, dy, dx) : Tensor();
    if (step.observer != nullptr) step.observer->Before(stage.path, /*backward=*/true);
    if (d_add != nullptr && i + 1 == n) {
      stage.layer->BackwardAdd(step, stage_x, stage_y, stage_dy, stage_dx, *d_add);
    } else if (!stage.bound.view || stage_dx.data() != stage_dy.data()) {
      stage.layer->Backward(step, stage_x, stage_y, stage_dy, stage_dx);
    }
    if (step.observer != nullptr) step.observer->After(stage.path, /*backward=*/true, stage_dx);
  }
}

Result<Admission> Sequential::Admit(int64_t samples, Mode mode) const {
  Admission all = Admission::kRun;
  for (size_t i = 0; i < children_.size(); ++i) {
    Result<Admission> one = children_[i]->Admit(samples, mode);
    if (!one.ok()) return one.status().At(std::to_string(i) + " (" + children_[i]->kind() + ")");
    if (*one == Admission::kSkip) all = Admission::kSkip;
  }
  return all;
}

bool Sequential::FuseActivation(kernels::Activation activation) {
  if (children_.empty() || !children_.back()->FuseActivation(activation)) return false;
  last_activation_ = activation;
  return true;
}

bool Sequential::FuseAdd() { return !children_.empty() && children_.back()->FuseAdd(); }

Result<Graph::Value> Sequential::Export(const Step& step, Graph& graph,
                                        const Graph::Value& x) const {
  Graph::Value value = x;
  for (size_t child = 0; child < children_.size(); ++child) {
    const Layer* layer = children_[child].get();
    const Graph::Scope scope(graph, std::to_string(child));
    LOCKSTEP_TRY_ASSIGN(value, layer->Export(step, graph, value));
    const bool serves_norm = std::any_of(stages_.begin(), stages_.end(), [&](const Stage& stage) {
      return stage.layer == layer && stage.serves_norm;
    });
    if (serves_norm && graph.fold_norms()) ++child;  // the norm that is part of it now
  }
  return value;
}

}  // namespace lockstep
