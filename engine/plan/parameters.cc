#include "engine/plan/parameters.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/base/random.h"
#include "engine/ops/elementwise.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kLineFloats = 16;  // a cache line, and the widest vector
constexpr int64_t kLineBytes = 64;

// Normal draws reject a varying number of words, so they come in runs with a stream each, and runs
// go to any thread.
constexpr int64_t kInitRun = 4096;

void Initialize(Context& ctx, const ParameterInfo& info, uint64_t seed, float* values) {
  const int64_t size = info.shape.size();
  const uint64_t stream = StreamOf(info.name);
  const float scale = info.init.scale;
  ctx.For(CeilDiv(size, kInitRun), size * 8, [&](int64_t run) {
    Random random(seed, stream + static_cast<uint64_t>(run));
    const int64_t end = std::min(size, (run + 1) * kInitRun);
    for (int64_t i = run * kInitRun; i < end; ++i) {
      switch (info.init.kind) {
        case Init::Kind::kConstant:
          values[i] = scale;
          break;
        case Init::Kind::kUniform:
          values[i] = static_cast<float>((2.0 * random.Uniform() - 1.0) * scale);
          break;
        case Init::Kind::kNormal:
          values[i] = static_cast<float>(random.Normal() * scale);
          break;
      }
    }
  });
}

void Initialize(const StateInfo& info, std::byte* memory) {
  const auto fill = [&](auto value) {
    for (int64_t i = 0; i < info.shape.size(); ++i)
      std::memcpy(memory + info.offset + i * static_cast<int64_t>(sizeof(value)), &value,
                  sizeof(value));
  };
  switch (info.dtype) {
    case DType::kF32:
      return fill(static_cast<float>(info.initial));
    case DType::kF64:
      return fill(info.initial);
    case DType::kI32:
      return fill(static_cast<int32_t>(info.initial));
    case DType::kI64:
      return fill(static_cast<int64_t>(info.initial));
    case DType::kBF16:
    case DType::kU8:
      break;
  }
  LOCKSTEP_CHECK(false, "no states of this type are known");
}

// Every step asks, so two at a time: what is not finite has all bits of its exponent set, and one
// more in their last place then carries into the place of the sign.
bool AllFinite(const float* x, int64_t n) {
  constexpr uint64_t kExponents = 0x7F8000007F800000, kLast = 0x0080000000800000;
  constexpr uint64_t kSigns = 0x8000000080000000;
  uint64_t sum = 0;
  for (int64_t i = 0; i + 2 <= n; i += 2) {
    uint64_t two = 0;
    std::memcpy(&two, x + i, sizeof(two));
    sum |= (two & kExponents) + kLast;
  }
  return (sum & kSigns) == 0 && (n % 2 == 0 || std::isfinite(x[n - 1]));
}
bool AllFinite(const double* x, int64_t n) {
  return std::all_of(x, x + n, [](double v) { return std::isfinite(v); });
}

// Whether a number that was finite is not any more.
template <class T>
bool Spoils(const Tensor& now, const Tensor& before) {
  const T *a = now.as<T>(), *b = before.as<T>();
  if (AllFinite(a, now.size())) return false;
  for (int64_t i = 0; i < now.size(); ++i) {
    if (!std::isfinite(a[i]) && std::isfinite(b[i])) return true;
  }
  return false;
}

// The place of `name`, or the first behind all.
template <class Info>
size_t Find(const std::vector<Info>& infos, const std::string& name) {
  const auto found =
      std::find_if(infos.begin(), infos.end(), [&](const Info& info) { return info.name == name; });
  return static_cast<size_t>(found - infos.begin());
}

}  // namespace

Result<int> ParameterStore::AddParameter(const std::string& name, const Shape& shape, Init init,
                                         Decay decay, bool frozen, FileLayout layout) {
  const size_t i = Find(infos_, name);
  if (i == infos_.size()) {
    infos_.push_back({name, shape, init, decay, std::move(layout), floats_, frozen});
    floats_ += RoundUp(shape.size(), kLineFloats);
  } else if (!(infos_[i].shape == shape)) {
    return Status::Invalid("parameter " + name + " is shared, but one of its layers needs it as " +
                           infos_[i].shape.ToString() + " and another as " + shape.ToString());
  }
  return static_cast<int>(i);
}

Result<int> ParameterStore::AddState(const std::string& name, const Shape& shape, DType dtype,
                                     double initial, FileLayout layout) {
  const size_t i = Find(states_, name);
  if (i == states_.size()) {
    states_.push_back({name, shape, dtype, initial, std::move(layout), state_bytes_});
    state_bytes_ += RoundUp(shape.size() * static_cast<int64_t>(SizeOf(dtype)), kLineBytes);
  } else if (!(states_[i].shape == shape) || states_[i].dtype != dtype) {
    return Status::Invalid("state " + name + " is shared, but one of its layers needs it as " +
                           states_[i].shape.ToString() + " and another as " + shape.ToString());
  }
  return static_cast<int>(i);
}

void ParameterStore::Allocate(Context& ctx, uint64_t seed, bool training) {
  parameter_memory_ = PageMemory(ctx, floats_ * 4);
  states_memory_ = PageMemory(ctx, state_bytes_);
  if (training) {
    gradient_memory_ = PageMemory(ctx, (floats_ + further_floats_) * 4);
    staged_memory_ = PageMemory(ctx, state_bytes_);
  }
  Borrow(parameter_memory_.data(), states_memory_.data());
  auto* values = reinterpret_cast<float*>(values_);
  for (const ParameterInfo& info : infos_) Initialize(ctx, info, seed, values + info.offset);
  for (const StateInfo& info : states_) Initialize(info, state_values_);
}

void ParameterStore::Borrow(std::byte* parameters, std::byte* states) {
  values_ = parameters;
  state_values_ = states;
}

ParameterSet ParameterStore::ParametersToWrite() const {
  const auto size = static_cast<size_t>(floats_);
  auto* gradients = reinterpret_cast<float*>(gradient_memory_.data());
  return {.infos = infos_,
          .values = {reinterpret_cast<float*>(values_), size},
          .gradients = {gradients, gradients == nullptr ? 0 : size},
          .identity = &identity_};
}

int ParameterStore::AddFurtherGradient(int parameter) {
  further_.push_back({parameter, further_floats_});
  further_floats_ += RoundUp(infos_[static_cast<size_t>(parameter)].shape.size(), kLineFloats);
  return static_cast<int>(further_.size()) - 1;
}

Tensor ParameterStore::further_gradient(int number) const {
  const Further& further = further_[static_cast<size_t>(number)];
  return {all_gradients().data() + floats_ + further.offset,
          infos_[static_cast<size_t>(further.parameter)].shape};
}

void ParameterStore::AddFurtherGradients(Context& ctx) {
  const IndexRange all{0, floats_};
  AddFurtherGradients(ctx, std::span(&all, 1));
}

void ParameterStore::AddFurtherGradients(Context& ctx, std::span<const IndexRange> floats) {
  for (int i = 0; i < further_gradients(); ++i) {
    const ParameterInfo& info = infos_[static_cast<size_t>(further_parameter(i))];
    const float* from = further_gradient(i).f32();
    for (const IndexRange& range : floats) {
      const int64_t begin = std::max(range.begin, info.offset);
      const int64_t n = std::min(range.end, info.offset + info.shape.size()) - begin;
      if (n > 0)
        ops::CopyOrAdd(ctx, from + begin - info.offset, n, /*accumulate=*/true,
                       all_gradients().data() + begin);
    }
  }
}

void ParameterStore::ClearFurtherGradients() {
  std::fill(all_gradients().begin() + floats_, all_gradients().end(), 0.0f);
}

void ParameterStore::StageStates() {
  if (state_bytes_ > 0)
    std::memcpy(staged_memory_.data(), states_memory_.data(), static_cast<size_t>(state_bytes_));
}

Status ParameterStore::CheckStagedStates() const {
  for (const StateInfo& info : states_) {
    const Tensor now(staged_memory_.data() + info.offset, info.dtype, info.shape);
    const Tensor before(state_memory(/*staged=*/false) + info.offset, info.dtype, info.shape);
    const bool spoils = info.dtype == DType::kF32   ? Spoils<float>(now, before)
                        : info.dtype == DType::kF64 ? Spoils<double>(now, before)
                                                    : false;
    if (spoils) {
      return Status::NonFinite("the step would leave " + info.name +
                               " with a number that is not finite: look at the inputs");
    }
  }
  return Status::Ok();
}

void ParameterStore::CommitStates() {
  if (state_bytes_ > 0)
    std::memcpy(states_memory_.data(), staged_memory_.data(), static_cast<size_t>(state_bytes_));
  Changed();
}

}  // namespace lockstep
