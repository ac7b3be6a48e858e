// A matrix product with panels of packed weights (engine/kernels/conv/conv.h): a 1x1 convolution of
// rows that lie side by side, sums over K in chains of at most kLongestChain.
#ifndef LOCKSTEP_ENGINE_KERNELS_CONV_PANEL_PRODUCT_H_
#define LOCKSTEP_ENGINE_KERNELS_CONV_PANEL_PRODUCT_H_

#include <algorithm>
#include <cstdint>

#include "engine/base/integers.h"
#include "engine/kernels/conv/conv.h"
#include "engine/kernels/conv/conv_program.h"

namespace lockstep::inline v0_1::kernels {

class PanelProduct {
 public:
  // Floats of scratch for products over k.
  static int64_t Scratch(int64_t k) {
    return ProgramFloats(k) + ConvChains(1, k).MostWaiting() * kConvSlot;
  }

  PanelProduct(int64_t k, float* scratch) : chains_(1, k), program_(chains_, scratch) {
    program_.Begin();
    for (int64_t part = 0; part < chains_.parts(); ++part) {
      const int64_t begin = chains_.PartBegin(part);
      program_.Add({.from = begin,
                    .weight = static_cast<int32_t>(begin),
                    .length = static_cast<int32_t>(chains_.PartBegin(part + 1) - begin)},
                   chains_.ChainAt(0, part));
    }
    program_.End();
    run_.from_step = k;
    run_.pieces = program_.pieces();
    run_.count = program_.count();
    run_.partial = scratch + ProgramFloats(k);
  }
  PanelProduct(const PanelProduct&) = delete;
  PanelProduct& operator=(const PanelProduct&) = delete;

  // to = from w
  //   from     (rows, k), dense
  //   packed   panels of 16 columns of w, panel_stride floats apart
  //   to       (rows, columns), rows to_stride floats apart
  void Run(int64_t rows, const float* from, const float* packed, int64_t panel_stride,
           int64_t columns, int64_t to_stride, float* to) {
    run_.to_step = to_stride;
    RunPanels(rows, from, packed, panel_stride, columns, to);
  }

  // to = from w, or to += from w, where the rows of `from` lie further apart.
  void RunStrided(int64_t rows, const float* from, int64_t from_stride, const float* packed,
                  int64_t panel_stride, int64_t columns, bool accumulate, int64_t to_stride,
                  float* to) {
    run_.from_step = from_stride;
    run_.accumulate = accumulate;
    run_.to_step = to_stride;
    RunPanels(rows, from, packed, panel_stride, columns, to);
  }

 private:
  void RunPanels(int64_t rows, const float* from, const float* packed, int64_t panel_stride,
                 int64_t columns, float* to) {
    run_.pixels = rows;
    run_.from = from;
    run_.panel_stride = panel_stride;
    for (int64_t column = 0; column < columns; column += kConvColumns) {
      run_.packed = packed + column / kConvPanel * panel_stride;
      run_.columns = std::min(kConvColumns, columns - column);
      run_.to = to + column;
      ConvRun(run_);
    }
  }

  static int64_t ProgramFloats(int64_t k) {
    return RoundUp(ConvChains(1, k).MostPieces() * static_cast<int64_t>(sizeof(ConvPiece) / 4), 16);
  }

  ConvChains chains_;
  ConvProgram program_;
  ConvRunArgs run_;
};

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_CONV_PANEL_PRODUCT_H_
