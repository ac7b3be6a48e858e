// layers/residual.cc — s(x) is the shortcut, x itself where there is none.
//   forward   y  = act(body(x) + s(x))          act only where the body has taken one over
//   backward  dz = dy where act let through,  dx = dbody(dz) + ds(dz)
#include "layers/residual.h"

#include "engine/kernels/elementwise/elementwise.h"
#include "engine/ops/elementwise.h"

namespace lockstep {

Result<Bound> Residual::Bind(const Shape& in, Planner& plan) {
  if (!asked_) fused_ = body_->FuseAdd();
  asked_ = true;
  const Moment begin{plan.now(), false};
  Shape shortcut_out = in;
  if (shortcut_ != nullptr) {
    LOCKSTEP_TRY_ASSIGN(const BoundIn shortcut, BindInScope(*shortcut_, "shortcut", in, plan));
    shortcut_bound_ = shortcut.bound;
    shortcut_out = shortcut.bound.out;
  }
  LOCKSTEP_TRY_ASSIGN(const BoundIn body, BindInScope(*body_, "body", in, plan));
  body_bound_ = body.bound;
  out_ = body_bound_.out;
  if (!(out_ == shortcut_out)) {
    return Status::Invalid("the body gives " + out_.ToString() + " but the " +
                           (shortcut_ != nullptr ? "shortcut gives " : "input is ") +
                           shortcut_out.ToString() + ": they cannot be added");
  }
  if (fused_) plan.Note("the addition is part of the body's last normalisation");

  const Moment end{body.end, false};
  const Moment back_end{plan.now(), true};
  if (!fused_) body_y_ = plan.BookBetween(out_.size(), begin, body_bound_.needs_y ? back_end : end);
  if (shortcut_ != nullptr)
    shortcut_y_ = plan.BookBetween(out_.size(), begin, shortcut_bound_.needs_y ? back_end : end);
  if (plan.training()) {
    const Moment back_begin{body.end, true};
    if (fused_) d_add_ = plan.BookBetween(out_.size(), back_begin, back_end);
    if (shortcut_ != nullptr) d_shortcut_ = plan.BookBetween(in.size(), back_begin, back_end);
  }
  return Bound{
      .out = out_,
      .needs_x = body_bound_.needs_x || shortcut_bound_.needs_x,
      .needs_y = fused_ && body_bound_.needs_y,
      .flops = body_bound_.flops + shortcut_bound_.flops + static_cast<double>(out_.size())};
}

void Residual::Forward(const Step& step, ConstTensor x, Tensor y) {
  const Shape out = out_.WithBatch(x.shape().batch());
  ConstTensor add = x;
  if (shortcut_ != nullptr) {
    const Tensor s(step[shortcut_y_], out);
    shortcut_->Forward(step, x, s);
    add = s;
  }
  if (fused_) {
    body_->ForwardAdd(step, x, add, y);
    return;
  }
  const Tensor body_y(step[body_y_], out);
  body_->Forward(step, x, body_y);
  ops::ForStretches(step.ctx, out.size(), 1, [&](int64_t begin, int64_t end) {
    kernels::Add(body_y.f32() + begin, add.f32() + begin, y.f32() + begin, end - begin);
  });
}

void Residual::Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx) {
  const Shape out = dy.shape();
  ConstTensor dz = dy;
  const ConstTensor body_x = body_bound_.needs_x ? x : ConstTensor();
  if (fused_) {
    const Tensor d_add(step[d_add_], out);
    body_->BackwardAdd(step, body_x, y, dy, dx, d_add);
    dz = d_add;
  } else {
    body_->Backward(step, body_x, body_bound_.needs_y ? Tensor(step[body_y_], out) : Tensor(), dy,
                    dx);
  }
  const float* d_shortcut = dz.f32();
  if (shortcut_ != nullptr) {
    const Tensor shortcut_dx = dx.empty() ? Tensor() : Tensor(step[d_shortcut_], dx.shape());
    shortcut_->Backward(step, shortcut_bound_.needs_x ? x : ConstTensor(),
                        shortcut_bound_.needs_y ? Tensor(step[shortcut_y_], out) : Tensor(), dz,
                        shortcut_dx);
    d_shortcut = step[d_shortcut_];
  }
  if (dx.empty()) return;
  ops::ForStretches(step.ctx, dx.size(), 1, [&](int64_t begin, int64_t end) {
    kernels::AddTo(d_shortcut + begin, dx.f32() + begin, end - begin);
  });
}

Result<Admission> Residual::Admit(int64_t samples, Mode mode) const {
  LOCKSTEP_TRY_ASSIGN(const Admission body, body_->Admit(samples, mode));
  if (shortcut_ == nullptr || body == Admission::kSkip) return body;
  return shortcut_->Admit(samples, mode);
}

bool Residual::FuseActivation(kernels::Activation activation) {
  if (!asked_) fused_ = body_->FuseAdd();
  asked_ = true;
  return fused_ && body_->FuseActivation(activation);
}

Result<Graph::Value> Residual::Export(const Step& step, Graph& graph, const Graph::Value& x) const {
  Graph::Value add = x;
  if (shortcut_ != nullptr) {
    const Graph::Scope scope(graph, "shortcut");
    LOCKSTEP_TRY_ASSIGN(add, shortcut_->Export(step, graph, x));
  }
  Graph::Value body;
  {
    const Graph::Scope scope(graph, "body");
    LOCKSTEP_TRY_ASSIGN(body, body_->Export(step, graph, x));
  }
  return graph.Add("Add", {body, add});
}

}  // namespace lockstep
