// A trained network as a file for other programs to predict with.
#ifndef LOCKSTEP_ENGINE_TRAIN_EXPORT_H_
#define LOCKSTEP_ENGINE_TRAIN_EXPORT_H_

#include <string>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/table/standardize.h"
#include "engine/train/decision.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

struct ExportOptions {
  // Each batch norm behind a product becomes part of its weights: fewer operations, and the
  // parameters are no longer those that were trained.
  bool fold_norms = false;
  // The file takes raw features and standardises them itself. Borrowed.
  const Standardizer* standardizer = nullptr;
  // With a standardizer: a feature may be missing, which is NaN, and counts as the mean. Two more
  // operations, which not every program knows.
  bool missing = false;
  // The file takes rows of samples->table as they are, a column each, and gives what a user is told
  // (engine/train/export_table.h); it also holds what MetadataOf says of the samples. Borrowed.
  const DatasetInfo* samples = nullptr;
  Decision decision{};  // with samples: how what is told follows from the network's outputs
};

// What the network computes in evaluation mode, as an ONNX model with input "x" (tokens as integers
// of 64 bits) and output "y" of any batch; parameters keep their names. A Model has its own inputs
// (targets left out) and outputs, by their names; those that are kept `always`, as
// NetworkOptions::layer_outputs are, are left out behind the first. Atomic. An error names a layer
// that cannot be exported.
Status ExportOnnx(Network& network, const std::string& path, const ExportOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_EXPORT_H_
