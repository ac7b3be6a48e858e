// A product with what reads it, a chunk of rows at a time, so that it is never there as a whole:
//   forward   y = x W^T + b                  of a chunk, which `loss` reads
//   backward  dx = dy W,  dW = dy^T x,  db = sum dy
// where `loss` turns y into dy. The same bits as the product alone gives, of all rows at once.
#ifndef LOCKSTEP_LAYERS_LOSS_CHUNKED_PRODUCT_H_
#define LOCKSTEP_LAYERS_LOSS_CHUNKED_PRODUCT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/ops/product.h"
#include "engine/parallel/function_ref.h"
#include "engine/plan/operation.h"
#include "layers/loss/row_chunks.h"

namespace lockstep::inline v0_1 {

// One for each operation whose input 0 is x and whose inputs Fused::product and the next are weight
// and bias, or nothing.
class ChunkedProduct {
 public:
  // Floats of y in a chunk, 64 MB: each chunk reads and writes all of dW. See RowChunks.
  static constexpr int64_t kChunkFloats = int64_t{1} << 24;

  // Completes `declared`, whose accumulates_dx and the like are empty; and the spec of y.
  static void Declare(std::span<const TensorSpec> x, const Fused& fused, Declaration& declared);
  static Shape ProductShape(std::span<const TensorSpec> x, const Fused& fused);

  void Book(std::span<const TensorSpec> x, Booking& booking);
  // Whether Backward will run.
  bool learns() const { return learns_; }

  // Calls loss(rows, y) once for each chunk, in order, with y (rows, columns). Where `backward` it
  // leaves dy there, of which the gradients are made that `o` asks for.
  void Run(const Step& step, const Operands& o, bool backward,
           FunctionRef<void(IndexRange rows, float* y)> loss);

 private:
  void Gradients(const Step& step, const Operands& o, const RowChunks::Chunk& chunk, bool last);
  // Where the gradient of input i is summed, of `size` floats each: the place of sum number `depth`
  // of those that wait. The first waits in the gradient itself, unless older ones are there.
  struct Stack {
    float* gradient = nullptr;
    float* slots = nullptr;
    int64_t size = 0;
    bool first_in_slot = false;
    float* at(int depth) const {
      if (depth == 0 && !first_in_slot) return gradient;
      return slots + (depth - !first_in_slot) * size;
    }
  };
  Stack StackOf(const Step& step, const Operands& o, int i) const;
  void MergeOlder(const Step& step, const RowChunks::Chunk& chunk, const Stack& stack,
                  bool last) const;

  int weight_ = -1;
  int64_t in_ = 0, out_ = 0;
  int64_t scratch_floats_ = 0;
  bool learns_ = false;
  Rows rows_;
  RowChunks chunks_;
  std::vector<int64_t> shard_rows_;
  Buffer<float> y_;
  Buffer<float> scratch_;   // of the products
  Buffer<float> slots_[2];  // sums of chunks that wait: of dW, of db
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LOSS_CHUNKED_PRODUCT_H_
