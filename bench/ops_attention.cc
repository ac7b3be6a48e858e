// Causal attention, BxHxTxD: op/attn_causal_8x12x256x64_fp32_{fwd,fwdbwd}/threads:N, likewise
// 2x12x1024x64 and 12x4x64x32 (a small language model's), each head's rows one behind the other as
// in the peers' program; ..._rows_...: heads side by side in the rows of one array (B, T, 3, H, D),
// as a layer has them. op/attn_decode_1x12x1024x64_fp32_fwd: one new query against 1024 keys, rows
// likewise. Operations counted as in the peers' program, half of all scores: 2 B H T T D forward,
// 7 forward and backward. Share of the floor: gflops / op/peak_fma.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/floats.h"
#include "engine/ops/attention.h"
#include "tests/reference/attention.h"

namespace lockstep::inline v0_1 {
namespace {

using bench::Floats;

struct Shape {
  int64_t batch, heads, queries, keys, head_size;
  bool in_rows;
};

class Attention {
 public:
  Attention(int threads, const Shape& s)
      : context_({.threads = threads}),
        heads_(s.in_rows ? s.heads : 1),
        batch_(s.in_rows ? s.batch : s.batch * s.heads),
        shape_{.queries = s.queries,
               .keys = s.keys,
               .heads = heads_,
               .key_heads = heads_,
               .head_size = s.head_size,
               .scale = 1.0f / std::sqrt(static_cast<float>(s.head_size)),
               .causal = true,
               .causal_offset = s.keys - s.queries},
        y_stride_(heads_ * s.head_size),
        stride_(s.in_rows ? 3 * y_stride_ : y_stride_),
        part_(s.in_rows ? y_stride_ : batch_ * s.keys * y_stride_),
        qkv_(3 * batch_ * s.keys * y_stride_),
        gradients_(qkv_.size()),
        y_(batch_ * s.queries * y_stride_),
        dy_(y_.size()),
        log_sum_(batch_ * heads_ * s.queries),
        forward_(ops::AttentionScratch(threads, shape_, batch_, false)),
        backward_(ops::AttentionScratch(threads, shape_, batch_, true)) {
    qkv_.FillRandom(1), dy_.FillRandom(2);
  }

  void Forward() {
    ops::AttentionForward(context_, shape_, Args(),
                          {forward_.get(), static_cast<size_t>(forward_.size())});
  }
  void Backward() {
    float* g = gradients_.get();
    ops::AttentionBackward(context_, shape_, Args(),
                           {.dy = dy_.get(), .dq = g, .dk = g + part_, .dv = g + 2 * part_},
                           {backward_.get(), static_cast<size_t>(backward_.size())});
  }

  // The last head of the last sample stands for all.
  std::string Check(bool backward) {
    Forward();
    const auto n = static_cast<size_t>(shape_.head_size);
    const auto q = Head(qkv_.get(), shape_.queries, stride_),
               dy = Head(dy_.get(), shape_.queries, y_stride_),
               k = Head(qkv_.get() + part_, shape_.keys, stride_),
               v = Head(qkv_.get() + 2 * part_, shape_.keys, stride_),
               y = Head(y_.get(), shape_.queries, y_stride_);
    reference::AttentionRules rules;
    rules.scale = static_cast<double>(shape_.scale);
    rules.sees = [this](size_t i, size_t j) {
      return static_cast<int64_t>(j) <= static_cast<int64_t>(i) + shape_.causal_offset;
    };
    for (size_t i = 0; i < y.size() / n; i += 13) {
      const auto want = reference::AttendRow(q, k, v, n, rules, i).y;
      for (size_t c = 0; c < n; ++c) {
        if (!(std::abs(y[i * n + c] - want[c]) <= 1e-5)) return "y is wrong";
      }
    }
    if (!backward) return "";
    Backward();
    const auto want = reference::AttentionBackward(q, k, v, dy, n, rules);
    const auto dq = Head(gradients_.get(), shape_.queries, stride_),
               dk = Head(gradients_.get() + part_, shape_.keys, stride_),
               dv = Head(gradients_.get() + 2 * part_, shape_.keys, stride_);
    for (size_t i = 0; i < dq.size(); ++i) {
      if (!(std::abs(dq[i] - want.dq[i]) <= 1e-4)) return "dq is wrong";
    }
    for (size_t i = 0; i < dk.size(); ++i) {
      if (!(std::abs(dk[i] - want.dk[i]) <= 1e-4)) return "dk is wrong";
      if (!(std::abs(dv[i] - want.dv[i]) <= 1e-4)) return "dv is wrong";
    }
    return "";
  }

 private:
  ops::AttentionArgs Args() const {
    return {.batch = batch_,
            .q = qkv_.get(),
            .q_stride = stride_,
            .k = qkv_.get() + part_,
            .v = qkv_.get() + 2 * part_,
            .kv_stride = stride_,
            .y = y_.get(),
            .y_stride = y_stride_,
            .log_sum = log_sum_.get()};
  }
  std::vector<double> Head(const float* x, int64_t rows, int64_t stride) const {
    std::vector<double> head;
    x += (batch_ - 1) * rows * stride + (heads_ - 1) * shape_.head_size;
    for (int64_t r = 0; r < rows; ++r) {
      head.insert(head.end(), x + r * stride, x + r * stride + shape_.head_size);
    }
    return head;
  }

  Context context_;
  int64_t heads_, batch_;
  ops::AttentionShape shape_;
  int64_t y_stride_, stride_, part_;
  Floats qkv_, gradients_, y_, dy_, log_sum_, forward_, backward_;
};

void Run(benchmark::State& state, const Shape& shape, bool backward, int threads) {
  Attention attention(threads, shape);
  if (const std::string wrong = attention.Check(backward); !wrong.empty()) {
    state.SkipWithError(wrong.c_str());
    return;
  }
  for (auto _ : state) {
    attention.Forward();
    if (backward) attention.Backward();
  }
  const double seen = shape.queries == shape.keys ? 0.5 : 1.0;
  const double operations =
      (backward ? 14.0 : 4.0) * seen *
      static_cast<double>(shape.batch * shape.heads * shape.queries * shape.keys * shape.head_size);
  state.counters["gflops"] = benchmark::Counter(
      operations * 1e-9 * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

void Register(const std::string& op, const Shape& shape, bool backward) {
  for (const int threads : {1, 2}) {
    const std::string name =
        "op/" + op + (backward ? "_fwdbwd" : "_fwd") + "/threads:" + std::to_string(threads);
    benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
      Run(state, shape, backward, threads);
    })->UseRealTime();
  }
}

const bool kRegistered = [] {
  for (const bool backward : {false, true}) {
    Register("attn_causal_8x12x256x64_fp32", {8, 12, 256, 256, 64, false}, backward);
    Register("attn_causal_2x12x1024x64_fp32", {2, 12, 1024, 1024, 64, false}, backward);
    Register("attn_causal_8x12x256x64_rows_fp32", {8, 12, 256, 256, 64, true}, backward);
    Register("attn_causal_2x12x1024x64_rows_fp32", {2, 12, 1024, 1024, 64, true}, backward);
    Register("attn_causal_12x4x64x32_rows_fp32", {12, 4, 64, 64, 32, true}, backward);
  }
  Register("attn_decode_1x12x1024x64_fp32", {1, 12, 1, 1024, 64, true}, false);
  return true;
}();

}  // namespace
}  // namespace lockstep
