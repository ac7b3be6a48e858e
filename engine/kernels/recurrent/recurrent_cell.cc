#include "engine/kernels/recurrent/recurrent_cell.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/recurrent/recurrent_cell.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/elementwise/math-inl.h"
#include "engine/kernels/norm/row_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {

// v (1 - s) s
template <class V>
HWY_INLINE V ThroughSigmoid(V s, V v) {
  return hn::Mul(v, hn::NegMulAdd(s, s, s));
}

// v (1 - t^2)
template <class V>
HWY_INLINE V ThroughTanh(V t, V v) {
  return hn::NegMulAdd(hn::Mul(t, t), v, v);
}

// hidden + bias of a gate, `bias` null where there is none.
template <class D>
HWY_INLINE hn::Vec<D> Hidden(D d, const float* hidden, const float* bias, int64_t i) {
  const auto v = hn::LoadU(d, hidden + i);
  return bias == nullptr ? v : hn::Add(v, hn::LoadU(d, bias + i));
}

void LstmStateOf(int64_t n, const float* input, const float* hidden, const float* bias, float* c,
                 float* gates) {
  ForEachVector(n, [&](auto d, int64_t at) HWY_ATTR {
    const auto sum = [&](int64_t gate) HWY_ATTR {
      const int64_t i = gate * n + at;
      return hn::Add(hn::LoadU(d, input + i), Hidden(d, hidden, bias, i));
    };
    const auto in = Sigmoid(d, sum(0));
    const auto forget = Sigmoid(d, sum(1));
    const auto value = Tanh(d, sum(2));
    const auto out = Sigmoid(d, sum(3));
    hn::StoreU(hn::MulAdd(forget, hn::LoadU(d, c + at), hn::Mul(in, value)), d, c + at);
    hn::StoreU(in, d, gates + at);
    hn::StoreU(forget, d, gates + n + at);
    hn::StoreU(value, d, gates + 2 * n + at);
    hn::StoreU(out, d, gates + 3 * n + at);
  });
}

void LstmOutputOf(int64_t n, const float* o, const float* m, float* h) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, o + i), Tanh(d, hn::LoadU(d, m + i))), d, h + i);
  });
}

void LstmOutputBackwardOf(int64_t n, const float* o, const float* m, const float* dh, float* d_o,
                          float* dm) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto out = hn::LoadU(d, o + i);
    const auto tanh = Tanh(d, hn::LoadU(d, m + i));
    const auto g = hn::LoadU(d, dh + i);
    hn::StoreU(ThroughTanh(tanh, hn::Mul(g, out)), d, dm + i);
    hn::StoreU(ThroughSigmoid(out, hn::Mul(g, tanh)), d, d_o + i);
  });
}

void LstmStateBackwardOf(int64_t n, const float* gates, const float* c_old, const float* dm,
                         float* dc, float* d_gates) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto in = hn::LoadU(d, gates + i);
    const auto forget = hn::LoadU(d, gates + n + i);
    const auto value = hn::LoadU(d, gates + 2 * n + i);
    const auto old = c_old == nullptr ? hn::Zero(d) : hn::LoadU(d, c_old + i);
    const auto g = hn::Add(hn::LoadU(d, dc + i), hn::LoadU(d, dm + i));
    hn::StoreU(hn::Mul(g, forget), d, dc + i);
    hn::StoreU(ThroughSigmoid(in, hn::Mul(g, value)), d, d_gates + i);
    hn::StoreU(ThroughSigmoid(forget, hn::Mul(g, old)), d, d_gates + n + i);
    hn::StoreU(ThroughTanh(value, hn::Mul(g, in)), d, d_gates + 2 * n + i);
  });
}

void GruForwardOf(int64_t n, const float* input, const float* hidden, const float* bias, float* h,
                  float* gates) {
  ForEachVector(n, [&](auto d, int64_t at) HWY_ATTR {
    const auto sum = [&](int64_t i) HWY_ATTR {
      return hn::Add(hn::LoadU(d, input + i), Hidden(d, hidden, bias, i));
    };
    const auto reset = Sigmoid(d, sum(at));
    const auto keep = Sigmoid(d, sum(n + at));
    const auto q = Hidden(d, hidden, bias, 2 * n + at);
    const auto next = Tanh(d, hn::MulAdd(reset, q, hn::LoadU(d, input + 2 * n + at)));
    hn::StoreU(hn::MulAdd(keep, hn::Sub(hn::LoadU(d, h + at), next), next), d, h + at);
    hn::StoreU(reset, d, gates + at);
    hn::StoreU(keep, d, gates + n + at);
    hn::StoreU(next, d, gates + 2 * n + at);
    hn::StoreU(q, d, gates + 3 * n + at);
  });
}

void GruBackwardOf(int64_t n, const float* gates, const float* h_old, float* dh, float* d_input,
                   float* d_hidden) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto reset = hn::LoadU(d, gates + i);
    const auto keep = hn::LoadU(d, gates + n + i);
    const auto next = hn::LoadU(d, gates + 2 * n + i);
    const auto q = hn::LoadU(d, gates + 3 * n + i);
    const auto old = h_old == nullptr ? hn::Zero(d) : hn::LoadU(d, h_old + i);
    const auto g = hn::LoadU(d, dh + i);
    const auto d_next = ThroughTanh(next, hn::NegMulAdd(g, keep, g));
    const auto d_keep = ThroughSigmoid(keep, hn::Mul(g, hn::Sub(old, next)));
    const auto d_reset = ThroughSigmoid(reset, hn::Mul(d_next, q));
    hn::StoreU(hn::Mul(g, keep), d, dh + i);
    hn::StoreU(d_reset, d, d_input + i);
    hn::StoreU(d_keep, d, d_input + n + i);
    hn::StoreU(d_next, d, d_input + 2 * n + i);
    hn::StoreU(d_reset, d, d_hidden + i);
    hn::StoreU(d_keep, d, d_hidden + n + i);
    hn::StoreU(hn::Mul(d_next, reset), d, d_hidden + 2 * n + i);
  });
}

}  // namespace
// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {

HWY_EXPORT(LstmStateOf);
HWY_EXPORT(LstmOutputOf);
HWY_EXPORT(LstmOutputBackwardOf);
HWY_EXPORT(LstmStateBackwardOf);
HWY_EXPORT(GruForwardOf);
HWY_EXPORT(GruBackwardOf);

void LstmState(int64_t n, const float* input, const float* hidden, const float* bias, float* c,
               float* gates) {
  HWY_DYNAMIC_DISPATCH(LstmStateOf)(n, input, hidden, bias, c, gates);
}
void LstmOutput(int64_t n, const float* o, const float* m, float* h) {
  HWY_DYNAMIC_DISPATCH(LstmOutputOf)(n, o, m, h);
}
void LstmOutputBackward(int64_t n, const float* o, const float* m, const float* dh, float* d_o,
                        float* dm) {
  HWY_DYNAMIC_DISPATCH(LstmOutputBackwardOf)(n, o, m, dh, d_o, dm);
}
void LstmStateBackward(int64_t n, const float* gates, const float* c_old, const float* dm,
                       float* dc, float* d_gates) {
  HWY_DYNAMIC_DISPATCH(LstmStateBackwardOf)(n, gates, c_old, dm, dc, d_gates);
}
void GruForward(int64_t n, const float* input, const float* hidden, const float* bias, float* h,
                float* gates) {
  HWY_DYNAMIC_DISPATCH(GruForwardOf)(n, input, hidden, bias, h, gates);
}
void GruBackward(int64_t n, const float* gates, const float* h_old, float* dh, float* d_input,
                 float* d_hidden) {
  HWY_DYNAMIC_DISPATCH(GruBackwardOf)(n, gates, h_old, dh, d_input, d_hidden);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
