// The recurrent half of an LSTM or GRU over a batch of sequences, spread over the threads of a
// Context; what a cell computes: engine/kernels/recurrent/recurrent_cell.h. The products with the
// input, which need no state, are done before (forward) and after (backward), for all steps at
// once.
//
// Samples are independent, so each thread takes a block of them through all steps without waiting
// for another, with W_hh in panels that stay in its cache. An element's bits depend on its sample
// alone: sums over K are those of engine/ops/product.h, whatever the block.
//
// Places (b, t) are visited with ascending t, or descending where `reverse`. `segments` says which
// text each belongs to. Before the first place of a text the state is zero. At padding (below 0)
// the state is carried unchanged and y is 0. So a text has the bits that it has alone, wherever in
// a row it stands.
//
// With layer norm (Ba, Kiros, Hinton, "Layer normalization", 2016, section 3.1 and supplement) the
// product with the state is normalised over all gates of a row, and of an LSTM also what the output
// gate sees of the cell:
//   hidden = LN(h_old W_hh^T; hidden_norm),   m = LN(c; cell_norm)
#ifndef LOCKSTEP_ENGINE_OPS_RECURRENT_H_
#define LOCKSTEP_ENGINE_OPS_RECURRENT_H_

#include <cstdint>
#include <span>

#include "engine/parallel/context.h"

namespace lockstep::inline v0_1::ops {

enum class RecurrentCell : uint8_t { kLstm, kGru };

struct RecurrentShape {
  RecurrentCell cell = RecurrentCell::kLstm;
  int64_t steps = 0;   // T
  int64_t hidden = 0;  // H
  bool reverse = false;
  bool layer_norm = false;
  double eps = 1e-5;

  bool lstm() const { return cell == RecurrentCell::kLstm; }
  // Columns of the products: G = 4 (i, f, g, o) or 3 (r, z, n) gates.
  int64_t columns() const { return (lstm() ? 4 : 3) * hidden; }
  // Floats kept of the gates at each place: 4 gates, of a GRU r, z, n, q.
  int64_t kept() const { return 4 * hidden; }
};

// Of rows that were normalised, what backward needs. Padding has zeros.
struct RecurrentNorm {
  const float* gamma = nullptr;  // (columns)
  const float* beta = nullptr;   // (columns)
  float* x = nullptr;            // (B, T, columns) before the norm; null: backward will not follow
  float* mean = nullptr;         // (B, T), likewise these three
  float* mean_low = nullptr;
  float* inv_std = nullptr;
};

// Where a sequence goes on with one that came before: of a single sample.
struct RecurrentState {
  bool continues = false;      // else it begins from zero, and the rest is only written
  float* h = nullptr;          // (H)
  float* c = nullptr;          // (H), of an LSTM
  int32_t* segment = nullptr;  // of the last place that was no padding
};

struct RecurrentArgs {
  int64_t batch = 0;                  // B, may be 0
  const int32_t* segments = nullptr;  // (B, T), or null: each row is one text
  const float* input = nullptr;       // (B, T, G H), places input_stride floats apart
  int64_t input_stride = 0;
  const float* packed = nullptr;      // as PackRecurrent gives it
  const float* bias = nullptr;        // (G H) b_hh, or null
  RecurrentNorm hidden_norm{};        // (G H), where layer_norm
  RecurrentNorm cell_norm{};          // (H), where layer_norm and an LSTM; its x is `c`
  RecurrentState* carried = nullptr;  // or null: all begin from zero
  float* y = nullptr;                 // (B, T, H)
  float* gates = nullptr;             // (B, T, 4 H); may be `input` where the strides agree
  float* h_old = nullptr;             // (B, T, H) states before each place, 0 at padding
  float* c = nullptr;                 // (B, T, H) cells behind each place, of an LSTM
                                      // both null: backward will not follow
};

// All overwritten, and 0 at padding.
struct RecurrentGradients {
  const float* dy = nullptr;      // (B, T, H)
  const float* packed = nullptr;  // as PackRecurrent gives it for backward
  float* d_input = nullptr;       // (B, T, G H); may be `gates` of an LSTM
  // (B, T, G H): the gradient of `hidden`, which of an LSTM is d_input; null there.
  float* d_hidden = nullptr;
  // Where layer_norm, else null: the gradient of h_old W_hh^T (B, T, G H), and of m (B, T, H) of an
  // LSTM, from which follow those of gamma and beta.
  float* d_product = nullptr;
  float* d_m = nullptr;
};

// W_hh (G H, H) in the order in which the products of forward, of backward read it.
int64_t PackedRecurrentSize(const RecurrentShape& shape, bool backward);
void PackRecurrent(Context& ctx, const RecurrentShape& shape, const float* w_hh, bool backward,
                   float* packed);

// Floats of scratch for any batch up to this one.
int64_t RecurrentScratch(int threads, const RecurrentShape& shape, int64_t batch);

void RecurrentForward(Context& ctx, const RecurrentShape& shape, const RecurrentArgs& args,
                      std::span<float> scratch);
// args as RecurrentForward left them, but that `gates` is lost where d_input lies there.
void RecurrentBackward(Context& ctx, const RecurrentShape& shape, const RecurrentArgs& args,
                       const RecurrentGradients& gradients, std::span<float> scratch);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_RECURRENT_H_
