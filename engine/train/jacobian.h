// How a network's outputs change with its inputs, in evaluation mode: batch norms by their running
// statistics, no dropout. For sensitivities, for optimising inputs, for coupling to a solver.
//
//   J(s, k, i) = d y(s, k) / d x(s, i)    of sample s; k and i count the numbers of one sample
//   dx = J^T v                            of each sample, by one backward pass
//
//   LOCKSTEP_TRY_ASSIGN(Jacobian jacobian, Jacobian::Make(net));
//   LOCKSTEP_TRY(jacobian.Full({x, {4, 20}}, {j, {4, 3, 20}}));
//
// By reverse accumulation: one pass for each k, over many samples and k at a time. Parameters,
// statistics and gradients of the network stay as they are.
#ifndef LOCKSTEP_ENGINE_TRAIN_JACOBIAN_H_
#define LOCKSTEP_ENGINE_TRAIN_JACOBIAN_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/parallel/context.h"
#include "engine/plan/page_memory.h"
#include "engine/plan/parameters.h"
#include "engine/plan/program.h"
#include "engine/tensor/shape.h"
#include "engine/tensor/tensor.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

struct JacobianOptions {
  // Outputs of the network by name, and layers of NetworkOptions::layer_outputs; empty: the first
  // output alone ("y" of a network of layers). Each must be f32, (batch, ...).
  std::vector<std::string> outputs{};
  // How many rows a pass takes: samples, or pairs of a sample and one number of its output. What is
  // more goes in several passes. 0: as many as the network's batch, but so many, up to 32, that a
  // sample's numbers need one pass.
  int64_t rows = 0;
};

// Ownership: has memory of its own for a step, borrows the network's parameters: the network may be
// moved but must outlive it, and what it learns later counts at once. Movable. One thread at a
// time, as the network itself. Nothing is allocated after Make unless a call fails.
//
// A sample's numbers have the same bits alone as among others, on any number of threads. They are
// those of operations as in training, fused but with no norm folded into a product: `y` may differ
// from Predict's in the last bits.
class Jacobian {
 public:
  // Errors: an output of that name is not there or is no f32 (batch, ...); no input is f32, so that
  // there is nothing to differentiate by; a layer whose samples depend on each other (a batch norm
  // without running statistics).
  static Result<Jacobian> Make(const Network& network, const JacobianOptions& options = {});

  // dx = J^T v of each sample, summed over the outputs. `inputs`: those of the network that are no
  // targets, as Predict takes them; each (samples, ...), of any number of samples. By output:
  //   v    (samples, ...) as the output; an empty tensor counts as zeros
  //   y    (samples, ...) or an empty tensor, written: the output; may be left out
  // By input:
  //   dx   (samples, ...) as the input, overwritten; an empty tensor where it is not wanted, and
  //        for inputs of whole numbers, which have none
  Status VectorProduct(std::span<const ConstTensor> inputs, std::span<const ConstTensor> v,
                       std::span<const Tensor> dx, std::span<const Tensor> y = {});
  // The same for one input and one output.
  Status VectorProduct(ConstTensor x, ConstTensor v, Tensor dx);

  // The Jacobian of one output by one input, numbered as in JacobianOptions and in `inputs`.
  //   jacobian  f32 (samples, outputs(output), inputs(input)), overwritten; or under any shape of
  //             as many numbers that begins with the samples
  //   y         (samples, ...) as the output, written; or an empty tensor
  // Takes about outputs(output) times what VectorProduct takes.
  Status Full(std::span<const ConstTensor> inputs, Tensor jacobian, size_t output = 0,
              size_t input = 0, Tensor y = {});
  Status Full(ConstTensor x, Tensor jacobian, Tensor y = {});

  // How many numbers a sample has there.
  int64_t outputs(size_t output = 0) const { return outputs_[output].spec.shape.sample_size(); }
  int64_t inputs(size_t input = 0) const { return inputs_[input].spec.shape.sample_size(); }
  int64_t rows() const { return rows_; }
  int64_t bytes() const { return memory_.bytes(); }  // of memory held
  // What is run, once for each pass.
  const Program& program() const { return *program_; }

 private:
  struct Place {
    std::string name;
    TensorSpec spec;
    size_t value = 0;  // its number among the graph's inputs, or outputs
    size_t seed = 0;   // of an output: the graph's input that holds v
    int64_t room = 0;  // where a pass's rows of it, or of v, stand in staging_, in bytes
  };
  Jacobian() = default;
  Status Seed(Graph& graph);
  Status CheckInputs(std::span<const ConstTensor> inputs) const;
  static Status CheckRows(const Place& place, const char* what, ConstTensor given, int64_t samples);
  Tensor Room(const Place& place, int64_t rows) const;
  Status Pass(int64_t rows);  // of pass_inputs_ and pass_v_
  // Of rows [0, rows) of the last pass.
  void TakeGradient(size_t input, int64_t rows, float* to) const;

  Context* ctx_ = nullptr;
  ParameterStore* store_ = nullptr;
  std::unique_ptr<Program> program_;
  PageMemory memory_, staging_;
  int64_t rows_ = 0;
  std::vector<Place> inputs_, outputs_;
  std::vector<ConstTensor> pass_inputs_, pass_v_;  // of the pass that comes
  std::vector<double> factors_;                    // of each output: 1
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_JACOBIAN_H_
