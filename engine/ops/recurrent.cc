#include "engine/ops/recurrent.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/kernels/conv/conv.h"
#include "engine/kernels/conv/panel_product.h"
#include "engine/kernels/elementwise/elementwise.h"
#include "engine/kernels/norm/row_norm.h"
#include "engine/kernels/recurrent/recurrent_cell.h"

namespace lockstep::inline v0_1::ops {
namespace {

using kernels::kConvPanel;

// Rows of a matrix that a product reads lie this much further apart than they are long: where they
// lie a power of two apart, a tile's rows want the same lines of the L1 cache.
constexpr int64_t kPad = 16;
// The most samples of a block: their states and gates stay in the L2 cache beside W_hh.
constexpr int64_t kMostRows = 64;

// Blocks of samples, one task each, the same number for each thread. No bits follow from them.
int64_t BlocksOf(int64_t batch, int64_t threads) {
  return std::min(batch, RoundUp(CeilDiv(batch, kMostRows), threads));
}

// A thread's scratch, cut into pieces in order.
class Pieces {
 public:
  explicit Pieces(float* at) : at_(at) {}
  float* Take(int64_t floats) {
    float* piece = at_;
    at_ += RoundUp(floats, 16);
    return piece;
  }
  float* at() const { return at_; }

 private:
  float* at_;
};

int64_t ThreadScratch(const RecurrentShape& s, int64_t rows) {
  const int64_t products = std::max(kernels::PanelProduct::Scratch(s.hidden),
                                    kernels::PanelProduct::Scratch(s.columns()));
  // The state h or its gradient, c or its gradient, the gates; two rows. Whole cache lines, so that
  // the scratch of the next thread is aligned too: it begins with the pieces of a product.
  return RoundUp(RoundUp(products, 16) + rows * (2 * (s.hidden + kPad) + s.columns() + kPad) +
                     2 * RoundUp(s.hidden, 16) + 4 * 16,
                 16);
}

void CopyRow(const float* from, int64_t n, float* to) { std::copy(from, from + n, to); }
void ZeroRow(int64_t n, float* to) {
  if (to != nullptr) std::fill(to, to + n, 0.0f);
}

// A block of samples on its way through the steps.
class Block {
 public:
  Block(const RecurrentShape& shape, const RecurrentArgs& args, int64_t first, int64_t rows)
      : s_(shape), a_(args), first_(first), rows_(rows) {}

 protected:
  // The place of row i of the block that is visited as number `visit`.
  int64_t At(int64_t i, int64_t visit) const {
    return (first_ + i) * s_.steps + (s_.reverse ? s_.steps - 1 - visit : visit);
  }
  int64_t Before(int64_t at) const { return s_.reverse ? at + 1 : at - 1; }
  bool IsPadding(int64_t at) const { return a_.segments != nullptr && a_.segments[at] < 0; }
  // Whether a text begins at the place `at`, which is no padding.
  bool Begins(int64_t at, int64_t visit) const {
    int64_t earlier = at;
    while (visit-- > 0) {
      if (a_.segments == nullptr) return false;
      earlier = Before(earlier);
      if (a_.segments[earlier] >= 0) return a_.segments[earlier] != a_.segments[at];
    }
    if (a_.carried == nullptr || !a_.carried->continues) return true;
    return a_.segments != nullptr && a_.segments[at] != *a_.carried->segment;
  }

  const RecurrentShape& s_;
  const RecurrentArgs& a_;
  int64_t first_, rows_;
};

kernels::RowNormForwardArgs NormOfRow(const RecurrentNorm& norm, const float* x, int64_t columns,
                                      double eps, int64_t at, float* y) {
  const auto place = [&](float* statistic) {
    return statistic == nullptr ? nullptr : statistic + at;
  };
  return {.x = x,
          .rows = 1,
          .columns = columns,
          .gamma = norm.gamma,
          .beta = norm.beta,
          .eps = eps,
          .y = y,
          .mean = place(norm.mean),
          .mean_low = place(norm.mean_low),
          .inv_std = place(norm.inv_std)};
}

kernels::RowNormBackwardArgs NormGradientOfRow(const RecurrentNorm& norm, const float* x,
                                               int64_t columns, int64_t at, const float* dy,
                                               float* dx) {
  return {.x = x,
          .dy = dy,
          .mean = norm.mean + at,
          .mean_low = norm.mean_low + at,
          .inv_std = norm.inv_std + at,
          .gamma = norm.gamma,
          .rows = 1,
          .columns = columns,
          .dx = dx};
}

void ZeroStatistics(const RecurrentNorm& norm, int64_t at) {
  if (norm.mean == nullptr) return;
  norm.mean[at] = norm.mean_low[at] = norm.inv_std[at] = 0.0f;
}

class ForwardBlock : private Block {
 public:
  ForwardBlock(const RecurrentShape& shape, const RecurrentArgs& args, int64_t first, int64_t rows,
               float* scratch)
      : Block(shape, args, first, rows),
        stride_(shape.hidden + kPad),
        wide_(shape.columns() + kPad),
        pieces_(scratch),
        product_(shape.hidden, pieces_.Take(kernels::PanelProduct::Scratch(shape.hidden))),
        h_(pieces_.Take(rows * stride_)),
        c_(pieces_.Take(rows * stride_)),
        hidden_(pieces_.Take(rows * wide_)),
        m_(pieces_.Take(shape.hidden)) {}

  void Run() {
    ZeroRow(rows_ * stride_, h_);
    ZeroRow(rows_ * stride_, c_);
    if (a_.carried != nullptr && a_.carried->continues) {
      CopyRow(a_.carried->h, s_.hidden, h_);
      if (s_.lstm()) CopyRow(a_.carried->c, s_.hidden, c_);
    }
    for (int64_t visit = 0; visit < s_.steps; ++visit) {
      for (int64_t i = 0; i < rows_; ++i) Begin(i, At(i, visit), visit);
      product_.RunStrided(rows_, h_, stride_, a_.packed, kConvPanel * s_.hidden, s_.columns(),
                          /*accumulate=*/false, wide_, hidden_);
      for (int64_t i = 0; i < rows_; ++i) {
        const int64_t at = At(i, visit);
        if (IsPadding(at)) {
          Pad(i, at);
        } else {
          Cell(i, at);
        }
      }
    }
    if (a_.carried == nullptr) return;
    CopyRow(h_, s_.hidden, a_.carried->h);
    if (s_.lstm()) CopyRow(c_, s_.hidden, a_.carried->c);
    for (int64_t visit = 0; visit < s_.steps && a_.segments != nullptr; ++visit) {
      const int64_t at = At(0, visit);
      if (!IsPadding(at)) *a_.carried->segment = a_.segments[at];
    }
  }

 private:
  void Begin(int64_t i, int64_t at, int64_t visit) {
    float* h = h_ + i * stride_;
    const bool padding = IsPadding(at);
    if (!padding && Begins(at, visit)) {
      ZeroRow(s_.hidden, h);
      ZeroRow(s_.hidden, c_ + i * stride_);
    }
    if (a_.h_old == nullptr) return;
    float* h_old = a_.h_old + at * s_.hidden;
    padding ? ZeroRow(s_.hidden, h_old) : CopyRow(h, s_.hidden, h_old);
  }

  void Pad(int64_t i, int64_t at) {
    ZeroRow(s_.hidden, a_.y + at * s_.hidden);
    if (a_.c != nullptr) CopyRow(c_ + i * stride_, s_.hidden, a_.c + at * s_.hidden);
    if (!s_.layer_norm) return;
    if (a_.hidden_norm.x != nullptr) ZeroRow(s_.columns(), a_.hidden_norm.x + at * s_.columns());
    ZeroStatistics(a_.hidden_norm, at);
    ZeroStatistics(a_.cell_norm, at);
  }

  void Cell(int64_t i, int64_t at) {
    const int64_t n = s_.hidden;
    float *h = h_ + i * stride_, *c = c_ + i * stride_, *hidden = hidden_ + i * wide_;
    if (s_.layer_norm) {
      float* kept = a_.hidden_norm.x;
      if (kept != nullptr) CopyRow(hidden, s_.columns(), kept + at * s_.columns());
      kernels::LayerNormForward(
          NormOfRow(a_.hidden_norm, hidden, s_.columns(), s_.eps, at, hidden));
    }
    const float* input = a_.input + at * a_.input_stride;
    float* gates = a_.gates + at * s_.kept();
    if (s_.lstm()) {
      kernels::LstmState(n, input, hidden, a_.bias, c, gates);
      if (a_.c != nullptr) CopyRow(c, n, a_.c + at * n);
      const float* m = c;
      if (s_.layer_norm) {
        kernels::LayerNormForward(NormOfRow(a_.cell_norm, c, n, s_.eps, at, m_));
        m = m_;
      }
      kernels::LstmOutput(n, gates + 3 * n, m, h);
    } else {
      kernels::GruForward(n, input, hidden, a_.bias, h, gates);
    }
    CopyRow(h, n, a_.y + at * n);
  }

  int64_t stride_, wide_;
  Pieces pieces_;
  kernels::PanelProduct product_;
  float *h_, *c_, *hidden_, *m_;
};

class BackwardBlock : private Block {
 public:
  BackwardBlock(const RecurrentShape& shape, const RecurrentArgs& args,
                const RecurrentGradients& gradients, int64_t first, int64_t rows, float* scratch)
      : Block(shape, args, first, rows),
        g_(gradients),
        stride_(shape.hidden + kPad),
        wide_(shape.columns() + kPad),
        pieces_(scratch),
        product_(shape.columns(), pieces_.Take(kernels::PanelProduct::Scratch(shape.columns()))),
        dh_(pieces_.Take(rows * stride_)),
        dc_(pieces_.Take(rows * stride_)),
        d_product_(pieces_.Take(rows * wide_)),
        m_(pieces_.Take(shape.hidden)),
        dm_(pieces_.Take(shape.hidden)) {}

  void Run() {
    ZeroRow(rows_ * stride_, dh_);
    ZeroRow(rows_ * stride_, dc_);
    for (int64_t visit = s_.steps - 1; visit >= 0; --visit) {
      for (int64_t i = 0; i < rows_; ++i) {
        const int64_t at = At(i, visit);
        if (IsPadding(at)) {
          Pad(i, at);
        } else {
          Cell(i, at, Begins(at, visit));
        }
      }
      if (visit == 0) return;
      // What is in dh by now does not go through the product.
      product_.RunStrided(rows_, d_product_, wide_, g_.packed, kConvPanel * s_.columns(), s_.hidden,
                          /*accumulate=*/true, stride_, dh_);
      for (int64_t i = 0; i < rows_ && a_.segments != nullptr; ++i) {
        const int64_t at = At(i, visit);
        if (IsPadding(at) || !Begins(at, visit)) continue;
        ZeroRow(s_.hidden, dh_ + i * stride_);
        ZeroRow(s_.hidden, dc_ + i * stride_);
      }
    }
  }

 private:
  // The gradients of the state pass by.
  void Pad(int64_t i, int64_t at) {
    ZeroRow(s_.columns(), d_product_ + i * wide_);
    ZeroRow(s_.columns(), g_.d_input + at * s_.columns());
    if (g_.d_hidden != nullptr) ZeroRow(s_.columns(), g_.d_hidden + at * s_.columns());
    if (g_.d_product != nullptr) ZeroRow(s_.columns(), g_.d_product + at * s_.columns());
    if (g_.d_m != nullptr) ZeroRow(s_.hidden, g_.d_m + at * s_.hidden);
  }

  void Cell(int64_t i, int64_t at, bool begins) {
    const int64_t n = s_.hidden;
    float *dh = dh_ + i * stride_, *d_product = d_product_ + i * wide_;
    float *gates = a_.gates + at * s_.kept(), *d_input = g_.d_input + at * s_.columns();
    const float* d_hidden = d_input;
    kernels::AddTo(g_.dy + at * n, dh, n);
    if (s_.lstm()) {
      const float *c = a_.c + at * n, *c_old = begins ? nullptr : a_.c + Before(at) * n;
      const float* m = c;
      if (s_.layer_norm) {
        kernels::LayerNormForward(NormOfRow(a_.cell_norm, c, n, s_.eps, at, m_));
        m = m_;
      }
      kernels::LstmOutputBackward(n, gates + 3 * n, m, dh, d_input + 3 * n, dm_);
      if (s_.layer_norm) {
        CopyRow(dm_, n, g_.d_m + at * n);
        kernels::LayerNormBackward(NormGradientOfRow(a_.cell_norm, c, n, at, dm_, dm_));
      }
      kernels::LstmStateBackward(n, gates, c_old, dm_, dc_ + i * stride_, d_input);
      ZeroRow(n, dh);
    } else {
      float* to = g_.d_hidden + at * s_.columns();
      kernels::GruBackward(n, gates, a_.h_old + at * n, dh, d_input, to);
      d_hidden = to;
    }
    if (s_.layer_norm) {
      const float* x = a_.hidden_norm.x + at * s_.columns();
      kernels::LayerNormBackward(
          NormGradientOfRow(a_.hidden_norm, x, s_.columns(), at, d_hidden, d_product));
      CopyRow(d_product, s_.columns(), g_.d_product + at * s_.columns());
    } else {
      CopyRow(d_hidden, s_.columns(), d_product);
    }
  }

  const RecurrentGradients& g_;
  int64_t stride_, wide_;
  Pieces pieces_;
  kernels::PanelProduct product_;
  float *dh_, *dc_, *d_product_, *m_, *dm_;
};

// run(first, rows, scratch) for each block of samples.
template <class Run>
void ForBlocks(Context& ctx, const RecurrentShape& s, int64_t batch, std::span<float> scratch,
               const Run& run) {
  if (batch == 0) return;
  const int64_t work = batch * s.steps * s.columns() * (s.hidden / 8 + 8);
  const int64_t threads = work < Context::kInlineWork ? 1 : ctx.threads();
  const int64_t blocks = BlocksOf(batch, threads);
  const int64_t floats = ThreadScratch(s, CeilDiv(batch, blocks));
  LOCKSTEP_CHECK_GE(static_cast<int64_t>(scratch.size()), threads * floats);
  ctx.ForWithThread(blocks, work, [&](int64_t block, int thread) {
    const int64_t first = batch * block / blocks, end = batch * (block + 1) / blocks;
    run(first, end - first, scratch.data() + thread * floats);
  });
}

}  // namespace

int64_t PackedRecurrentSize(const RecurrentShape& s, bool backward) {
  return backward ? RoundUp(s.hidden, kConvPanel) * s.columns()
                  : RoundUp(s.columns(), kConvPanel) * s.hidden;
}

void PackRecurrent(Context& ctx, const RecurrentShape& s, const float* w_hh, bool backward,
                   float* packed) {
  const int64_t columns = backward ? s.hidden : s.columns();
  const int64_t k = backward ? s.columns() : s.hidden;
  const int64_t column_step = backward ? 1 : s.hidden, k_step = backward ? s.hidden : 1;
  ctx.For(CeilDiv(columns, kConvPanel), columns * k, [&](int64_t panel) {
    const int64_t first = panel * kConvPanel;
    kernels::ConvPackPanel(w_hh + first * column_step, column_step, k_step,
                           std::min(kConvPanel, columns - first), k, packed + first * k);
  });
}

int64_t RecurrentScratch(int threads, const RecurrentShape& s, int64_t batch) {
  const auto rows = [&](int64_t of) { return std::min(CeilDiv(batch, of), kMostRows); };
  return std::max(threads * ThreadScratch(s, rows(threads)), ThreadScratch(s, rows(1)));
}

void RecurrentForward(Context& ctx, const RecurrentShape& s, const RecurrentArgs& args,
                      std::span<float> scratch) {
  LOCKSTEP_CHECK(args.carried == nullptr || args.batch == 1, "a state of more than one sample");
  ForBlocks(ctx, s, args.batch, scratch, [&](int64_t first, int64_t rows, float* memory) {
    ForwardBlock(s, args, first, rows, memory).Run();
  });
}

void RecurrentBackward(Context& ctx, const RecurrentShape& s, const RecurrentArgs& args,
                       const RecurrentGradients& gradients, std::span<float> scratch) {
  ForBlocks(ctx, s, args.batch, scratch, [&](int64_t first, int64_t rows, float* memory) {
    BackwardBlock(s, args, gradients, first, rows, memory).Run();
  });
}

}  // namespace lockstep::ops
