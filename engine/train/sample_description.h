// What the samples of a trained model look like, to and from the metadata of its file: enough to
// read new samples and to name what is predicted, without the data it was trained on.
//
//   "data.task"      "binary", "classes" or "regression"
//   "data.input"     the extents of one sample: "20" or "28 28 1"
//   "data.target"    the extents of one target: "1", or "" for a class number
//   "data.outputs"   classes: how many
//   "data.features"  names of the features, a JSON list; left out where they are not known
//   "data.classes"   names of the classes, a JSON list; left out where they are not known
//   "data.vocabulary"  tokens: how many there are; left out where samples are floats
//   "data.padded"      "1": tokens may be -1 where a text is over; else left out
//   "data.tokenizer"   Tokenizer::Description(); left out where there is none
//   "data.table"       ToJson(TableDescription); left out where samples are of no table
#ifndef LOCKSTEP_ENGINE_TRAIN_SAMPLE_DESCRIPTION_H_
#define LOCKSTEP_ENGINE_TRAIN_SAMPLE_DESCRIPTION_H_

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/io/safetensors.h"

namespace lockstep::inline v0_1 {

inline constexpr char kTableMetadata[] = "data.table";

Metadata MetadataOf(const DatasetInfo& samples);

// Untrusted input: extents and counts are in range, lists are as long as they must be. `size` and
// `name` stay empty.
Result<DatasetInfo> DatasetInfoFrom(const Metadata& metadata);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_SAMPLE_DESCRIPTION_H_
