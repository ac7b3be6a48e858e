// The operation of all layers whose every output pixel is a weighted sum of input pixels, by rows
// and by columns: average pooling, resizing, padding.
//   forward   y  = R x C^T        R (H', H) and C (W', W), for each channel of each sample
//   backward  dx = R^T dy C
#ifndef LOCKSTEP_LAYERS_PICTURE_RESAMPLE_OPERATION_H_
#define LOCKSTEP_LAYERS_PICTURE_RESAMPLE_OPERATION_H_

#include "engine/kernels/picture/axis_taps.h"
#include "engine/plan/operation.h"

namespace lockstep::inline v0_1 {

// Reads nothing in Backward. Layers derive from it to say what it is in ONNX.
class ResampleOperation : public Operation {
 public:
  ResampleOperation(kernels::AxisTaps rows, kernels::AxisTaps columns);

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override;
  void Book(std::span<const TensorSpec> x, Booking& booking) override;
  void Forward(const Step& step, const Operands& o) override;
  void Backward(const Step& step, const Operands& o) override;
  Result<OnnxGraph::Value> Export(const Step& step, const Operands& o, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override;

 protected:
  // x and the result are (B, C, H, W) here. By itself it is two products with the matrices R and C.
  virtual OnnxGraph::Value ExportChannelsFirst(OnnxGraph& graph, const OnnxGraph::Value& x) const;
  // What the result's shape is.
  Shape OutChannelsFirst(const Shape& x) const {
    return {x[0], x[1], rows_.outputs(), columns_.outputs()};
  }
  const kernels::AxisTaps& rows() const { return rows_; }
  const kernels::AxisTaps& columns() const { return columns_; }

 private:
  kernels::AxisTaps rows_, columns_, turned_rows_, turned_columns_;
  int64_t channels_ = 0;
  int64_t scratch_floats_ = 0;
  Buffer<float> scratch_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_PICTURE_RESAMPLE_OPERATION_H_
