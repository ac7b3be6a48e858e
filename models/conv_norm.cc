#include "models/conv_norm.h"

#include "layers/norm/group_norm.h"

namespace lockstep::inline v0_1 {

Result<Value> ApplyNorm(Graph& graph, const ConvNorm& norm, const std::string& name, Value x,
                        float gamma) {
  switch (norm.kind) {
    case ConvNorm::Kind::kNone:
      break;
    case ConvNorm::Kind::kBatch: {
      BatchNormOptions options = norm.batch_norm;
      options.gamma = gamma;
      return Apply(graph, name, BatchNorm(options), x);
    }
    case ConvNorm::Kind::kGroup:
      return Apply(graph, name, GroupNorm(norm.groups, {.gamma = gamma}), x);
  }
  return x;
}

Result<Value> ApplyConvNorm(Graph& graph, const ConvNorm& norm, const std::string& conv,
                            const std::string& name, int64_t channels, Conv2dOptions conv_options,
                            Value x, float gamma) {
  conv_options.bias = norm.kind == ConvNorm::Kind::kNone;
  LOCKSTEP_TRY_ASSIGN(const Value y, Apply(graph, conv, Conv2d(channels, conv_options), x));
  return ApplyNorm(graph, norm, name, y, gamma);
}

Status CheckPictures(const Graph& graph, Value x) {
  const TensorSpec& spec = graph.spec(x);
  if (spec.shape.rank() == 4 && spec.dtype == DType::kF32) return Status::Ok();
  return Status::Invalid("takes pictures (batch, height, width, channels) of f32, not " +
                         spec.shape.ToString() + " of " + NameOf(spec.dtype));
}

}  // namespace lockstep
