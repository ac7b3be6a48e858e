// What a recurrent cell does to one row, one sample at one step, once the products are there:
// forward, and the derivatives.
//
//   LSTM (Hochreiter and Schmidhuber, 1997; torch.nn.LSTM), gates in the order i, f, g, o:
//     a = input + (hidden + bias),  i, f, o = sigmoid(a),  g = tanh(a)
//     c = f c_old + i g,  h = o tanh(m)                            m is c, or its layer norm
//   backward
//     do = dh tanh(m) o (1 - o),  dm = dh o (1 - tanh(m)^2)
//     dc = dc + dm through the norm,  di = dc g i (1 - i),  df = dc c_old f (1 - f)
//     dg = dc i (1 - g^2),  dc_old = dc f
//
//   GRU (Cho et al., 2014; torch.nn.GRU), gates in the order r, z, n:
//     q = hidden_n + bias_n,  r, z = sigmoid(input + (hidden + bias)),  n = tanh(input_n + r q)
//     h = n + z (h_old - n)
//   backward
//     dn = dh (1 - z) (1 - n^2),  dz = dh (h_old - n) z (1 - z),  dq = dn r
//     dr = dn q r (1 - r),  dh_old = dh z                          and through the product
//
// A gate of a row is `n` floats; gate g of an array of gates begins at g * n. Pure functions of
// one element: every SIMD target with fused multiply-add gives the same bits. Thread-safe.
#ifndef LOCKSTEP_ENGINE_KERNELS_RECURRENT_RECURRENT_CELL_H_
#define LOCKSTEP_ENGINE_KERNELS_RECURRENT_RECURRENT_CELL_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

// What is computed of a row's products, up to the state.
//   input    (4, n); may be `gates`
//   hidden   (4, n)
//   bias     (4, n), or null: 0
//   c        (n) the state, old and new
//   gates    (4, n) i, f, g, o
void LstmState(int64_t n, const float* input, const float* hidden, const float* bias, float* c,
               float* gates);

// h (n) of the gate o (n) and m (n).
void LstmOutput(int64_t n, const float* o, const float* m, float* h);

// Of dh (n): d_o (n), the gradient before the sigmoid, may be `o`; and dm (n).
void LstmOutputBackward(int64_t n, const float* o, const float* m, const float* dh, float* d_o,
                        float* dm);

// Of dc (n), what comes from later steps, and dm (n), both gradients of c: those of i, f, g before
// their functions. gates (3, n) are i, f, g; d_gates (3, n), may be `gates`; dc becomes that of
// c_old (n), which is null where it is 0.
void LstmStateBackward(int64_t n, const float* gates, const float* c_old, const float* dm,
                       float* dc, float* d_gates);

//   input    (3, n); may be `gates`
//   hidden   (3, n)
//   bias     (3, n), or null: 0
//   h        (n) the state, old and new
//   gates    (4, n) r, z, n, q
void GruForward(int64_t n, const float* input, const float* hidden, const float* bias, float* h,
                float* gates);

//   gates     (4, n) as GruForward left them
//   h_old     (n), or null: 0
//   dh        (n); becomes dh_old without what comes through the product
//   d_input   (3, n) dr, dz, dn;  d_hidden (3, n) dr, dz, dq
void GruBackward(int64_t n, const float* gates, const float* h_old, float* dh, float* d_input,
                 float* d_hidden);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_RECURRENT_RECURRENT_CELL_H_
