#include "engine/optim/ema.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>

#include "engine/base/check.h"
#include "engine/kernels/optimizer/optimizer_update.h"
#include "engine/optim/flat_blocks.h"

namespace lockstep::inline v0_1 {

Status Ema::Bind(Context& ctx, const ParameterStore& store) {
  LOCKSTEP_CHECK(averages_.empty(), "an average is bound once");
  if (!(options_.decay >= 0.0 && options_.decay < 1.0)) {
    return Status::Invalid("the decay of the moving average of weights must be in [0, 1), not " +
                           std::to_string(options_.decay));
  }
  floats_ = store.floats();
  values_ = PageMemory(ctx, floats_ * 4);
  for (const ParameterInfo& info : store.infos()) {
    averages_.push_back({info.name, Tensor(values() + info.offset, info.shape)});
  }
  int64_t state_bytes = 0;
  for (const StateInfo& info : store.states())
    state_bytes = info.offset + static_cast<int64_t>(SizeOf(info.dtype)) * info.shape.size();
  states_ = PageMemory(ctx, state_bytes);
  for (const StateInfo& info : store.states())
    averages_.push_back({info.name, Tensor(states_.data() + info.offset, info.dtype, info.shape)});
  return Status::Ok();
}

// body(live, average) for all parameters, block by block in parallel, and for every state: tensors
// of one type and shape.
template <class Body>
void Ema::ForAll(Context& ctx, const ParameterStore& store, const Body& body) const {
  const ParameterSet parameters = store.ParametersToWrite();
  LOCKSTEP_CHECK_EQ(store.floats(), floats_);
  LOCKSTEP_CHECK_EQ(parameters.infos.size() + store.states().size(), averages_.size());
  ForFlatBlocks(ctx, floats_, 3, [&](int64_t, int64_t begin, int64_t end) {
    const Shape shape{end - begin};
    body(Tensor(parameters.values.data() + begin, shape), Tensor(values() + begin, shape));
  });
  const auto states = static_cast<int64_t>(store.states().size());
  ctx.For(states, states_.bytes() / 4 * 3, [&](int64_t i) {
    body(store.StateToWrite(static_cast<size_t>(i)),
         averages_[parameters.infos.size() + static_cast<size_t>(i)].tensor);
  });
}

void Ema::Update(Context& ctx, const ParameterStore& store) {
  const auto n = static_cast<double>(update_count_);
  const double decay =
      options_.ramp ? std::min(options_.decay, (1.0 + n) / (10.0 + n)) : options_.decay;
  const auto one_minus_decay = static_cast<float>(1.0 - decay);
  const bool first = update_count_ == 0;
  ForAll(ctx, store, [&](const Tensor& live, const Tensor& average) {
    if (first || live.dtype() != DType::kF32) {
      std::memcpy(average.data(), live.data(), live.bytes());
    } else {
      kernels::UpdateAverage(one_minus_decay, live.f32(), live.size(), average.f32());
    }
  });
  ++update_count_;
}

void Ema::Exchange(Context& ctx, ParameterStore& store) {
  ForAll(ctx, store, [](const Tensor& live, const Tensor& average) {
    auto* bytes = static_cast<std::byte*>(live.data());
    std::swap_ranges(bytes, bytes + live.bytes(), static_cast<std::byte*>(average.data()));
  });
  store.Changed();
}

Ema::Swap::Swap(Ema& ema, Context& ctx, ParameterStore& store)
    : ema_(ema), ctx_(ctx), store_(store), swapped_(ema.update_count_ > 0) {
  if (swapped_) ema_.Exchange(ctx_, store_);
}

Ema::Swap::~Swap() {
  if (swapped_) ema_.Exchange(ctx_, store_);
}

}  // namespace lockstep
