// CIFAR-10 and CIFAR-100 in their binary form, plain or gzip-compressed.
// https://www.cs.toronto.edu/~kriz/cifar.html
//
// Records one after another: the label (CIFAR-100: coarse label, fine label), then 1024 red, 1024
// green and 1024 blue bytes, each plane 32 x 32 by rows.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_CIFAR_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_CIFAR_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/base/status.h"
#include "engine/data/dataset.h"

namespace lockstep::inline v0_1 {

enum class CifarKind { kCifar10, kCifar100 };

// All files, in the order given, as one dataset: x (32, 32, 3) in bytes, channels last, scaled when
// gathered; the targets are the 10 classes or the 100 fine classes. Memory grows with what arrives.
// Errors, by file and by number of the record (from 0): a last record that is not complete, a label
// out of range, damaged compression, more than max_bytes in all.
struct CifarOptions {
  ByteScale byte_scale = {};
  int64_t max_bytes = int64_t{8} << 30;
};
Result<std::shared_ptr<const InMemoryDataset>> LoadCifarFiles(CifarKind kind,
                                                              std::span<const std::string> paths,
                                                              const CifarOptions& options = {});

// The files by their usual names, each with or without ".gz": data_batch_1.bin to data_batch_5.bin
// and test_batch.bin, or train.bin and test.bin. Where these are not all there, parts of the set:
// every file of the folder whose name begins with data_batch (train) or test_batch (test) and ends
// with .bin or .bin.gz, in the order of their names, but none whose records another one holds
// already (NAME.bin.gz beside NAME.bin, NAME.part1.bin beside NAME.bin); `remark` then says so.
// Class names come from batches.meta.txt or fine_label_names.txt where these are there. An error
// lists what is missing.
struct CifarData {
  std::shared_ptr<const InMemoryDataset> train, test;
  std::string remark{};  // for the user; empty: all files are there
};
Result<CifarData> LoadCifar(CifarKind kind, const std::string& folder,
                            const CifarOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_CIFAR_H_
