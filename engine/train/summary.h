// What a network is made of, layer by layer, as text: for logs and for a look (torchinfo and Keras
// have the same).
//
//   std::fputs(Summary(net).c_str(), stdout);
//
//   layer  kind        out        parameters  multiply-adds   memory
//   all    Sequential  (32, 1)         13313       416 kMAC   332 KB
//   0      Linear      (32, 128)        4608       143 kMAC   117 KB  its bias has no effect: ...
//   ...
//   13313 parameters, all of which learn: 53.3 KB
//   ...
#ifndef LOCKSTEP_ENGINE_TRAIN_SUMMARY_H_
#define LOCKSTEP_ENGINE_TRAIN_SUMMARY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/tensor/shape.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

// One layer. What it counts holds the layers within, too.
struct LayerSummary {
  std::string name{};  // "3.body.1"; "all" of the whole network, "loss" of losses
  std::string kind{};
  int depth = 0;           // of layers around it
  Shape in{}, out{};       // at the bound batch; a loss has no `out` (rank 0)
  int64_t parameters = 0;  // elements
  int64_t frozen = 0;      // of these that do not learn
  double flops = 0.0;      // of one forward pass at the bound batch; a multiply-add is two
  int64_t bytes = 0;       // of activations, statistics and scratch, before any share memory
  std::string notes{};     // what one should know, separated by "; "
};

// In the order in which they run: of the training program where there is one, else of evaluation.
// The first row is of the whole network.
std::vector<LayerSummary> LayersOf(const Network& network);
// Of one forward pass at the bound batch, losses included.
double FlopsOf(const Network& network);

// A table of the layers, then totals: parameters that learn and that are frozen, states,
// multiply-adds, memory. Lines end in "\n".
std::string Summary(const Network& network);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_SUMMARY_H_
