// What a network learns (parameters) and what it remembers without learning (states), by name.
#ifndef LOCKSTEP_ENGINE_PLAN_PARAMETERS_H_
#define LOCKSTEP_ENGINE_PLAN_PARAMETERS_H_

#include <cstdint>
#include <span>
#include <string>

#include "engine/tensor/shape.h"
#include "engine/tensor/tensor.h"

namespace lockstep {

// How a parameter begins. Every element is a pure function of (seed, parameter name, place).
struct Init {
  enum class Kind { kConstant, kUniform, kNormal };
  Kind kind = Kind::kConstant;
  float scale = 0.0f;  // the constant; the bound of the uniform distribution on [-scale, scale);
                       // the sd of the normal

  static Init Constant(float value) { return {Kind::kConstant, value}; }
  static Init Uniform(float bound) { return {Kind::kUniform, bound}; }
  static Init Normal(float sd) { return {Kind::kNormal, sd}; }
};

// Whether weight decay applies by default: to weights of products, not to biases nor to the scales
// of normalisations.
enum class Decay : bool { kNo, kYes };

struct ParameterInfo {
  std::string name;  // as PyTorch's state_dict would say: "0.weight"
  Shape shape;
  Init init;
  Decay decay = Decay::kYes;
  int64_t offset = 0;  // of the first element, in the flat arrays of ParameterSet
};

struct StateInfo {
  std::string name;  // "1.running_mean"
  Shape shape;
  float initial = 0.0f;
  int64_t offset = 0;
};

// All parameters and their gradients as two flat arrays of one layout. Parameters start at
// multiples of 16 floats; what lies between them is zero in both arrays and stays so. Borrowed from
// the Workspace that owns the memory.
struct ParameterSet {
  std::span<const ParameterInfo> infos;
  std::span<float> values;
  std::span<float> gradients;  // empty where the network was bound for evaluation only

  Tensor value(size_t i) const { return {values.data() + infos[i].offset, infos[i].shape}; }
  Tensor gradient(size_t i) const { return {gradients.data() + infos[i].offset, infos[i].shape}; }
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_PARAMETERS_H_
