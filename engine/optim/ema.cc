#include "engine/optim/ema.h"

#include <algorithm>
#include <string>

#include "engine/base/check.h"
#include "engine/kernels/optimizer/optimizer_update.h"
#include "engine/optim/flat_blocks.h"

namespace lockstep {

Status Ema::Bind(Context& ctx, const Workspace& workspace) {
  LOCKSTEP_CHECK(averages_.empty(), "an average is bound once");
  if (!(options_.decay >= 0.0 && options_.decay < 1.0)) {
    return Status::Invalid("the decay of the moving average of weights must be in [0, 1), not " +
                           std::to_string(options_.decay));
  }
  const ParameterSet parameters = workspace.parameters();
  floats_ = static_cast<int64_t>(parameters.values.size());
  values_ = PageMemory(ctx, floats_ * 4);
  for (const ParameterInfo& info : parameters.infos) {
    averages_.push_back({info.name, Tensor(values() + info.offset, info.shape)});
  }
  int64_t state_floats = 0;
  for (const StateInfo& info : workspace.states()) state_floats += info.shape.size();
  states_ = PageMemory(ctx, state_floats * 4);
  auto* next = reinterpret_cast<float*>(states_.data());
  for (const StateInfo& info : workspace.states()) {
    averages_.push_back({info.name, Tensor(next, info.shape)});
    next += info.shape.size();
  }
  return Status::Ok();
}

// body(live, average, n) for all parameters, block by block in parallel, and for every state.
template <class Body>
void Ema::ForAll(Context& ctx, const Workspace& workspace, const Body& body) const {
  const ParameterSet parameters = workspace.parameters();
  LOCKSTEP_CHECK_EQ(static_cast<int64_t>(parameters.values.size()), floats_);
  LOCKSTEP_CHECK_EQ(parameters.infos.size() + workspace.states().size(), averages_.size());
  ForFlatBlocks(ctx, floats_, 3, [&](int64_t, int64_t begin, int64_t end) {
    body(parameters.values.data() + begin, values() + begin, end - begin);
  });
  const auto states = static_cast<int64_t>(workspace.states().size());
  ctx.For(states, states_.bytes() / 4 * 3, [&](int64_t i) {
    const Tensor live = workspace.state(static_cast<size_t>(i));
    const size_t average = parameters.infos.size() + static_cast<size_t>(i);
    body(live.f32(), averages_[average].tensor.f32(), live.size());
  });
}

void Ema::Update(Context& ctx, const Workspace& workspace) {
  const auto n = static_cast<double>(update_count_);
  const double decay =
      options_.ramp ? std::min(options_.decay, (1.0 + n) / (10.0 + n)) : options_.decay;
  const auto one_minus_decay = static_cast<float>(1.0 - decay);
  const bool first = update_count_ == 0;
  ForAll(ctx, workspace, [&](const float* live, float* average, int64_t size) {
    if (first) {
      std::copy_n(live, size, average);
    } else {
      kernels::UpdateAverage(one_minus_decay, live, size, average);
    }
  });
  ++update_count_;
}

void Ema::Exchange(Context& ctx, const Workspace& workspace) {
  ForAll(ctx, workspace, [](float* live, float* average, int64_t size) {
    std::swap_ranges(live, live + size, average);
  });
}

Ema::Swap::Swap(Ema& ema, Context& ctx, const Workspace& workspace)
    : ema_(ema), ctx_(ctx), workspace_(workspace), swapped_(ema.update_count_ > 0) {
  if (swapped_) ema_.Exchange(ctx_, workspace_);
}

Ema::Swap::~Swap() {
  if (swapped_) ema_.Exchange(ctx_, workspace_);
}

}  // namespace lockstep
