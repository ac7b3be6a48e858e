// How files in the IDX format are named: MNIST's four, and what is named after them.
//
//   train-images-idx3-ubyte        as MNIST's home has them
//   train-images.idx3-ubyte        as others unpack them
//   emnist-letters-train-images-idx3-ubyte, emnist-letters-test-images-idx3-ubyte
//   train-labels-idx1-int          labels of another type
//
// each with or without ".gz"; "test" is "t10k" in MNIST's own.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_IDX_NAMES_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_IDX_NAMES_H_

#include <string>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

struct IdxFiles {
  std::string train_images, train_labels, test_images, test_labels;
};

// The four files in the folder `path`. Of a folder with several sets those without a beginning of
// their own are taken; where all have one, `path` says which: FOLDER/emnist-letters. Of a file that
// is there packed and unpacked, the unpacked one. Errors name what is missing, or the sets.
Result<IdxFiles> FindIdxFiles(const std::string& path);

// The file of labels beside one of images.
Result<std::string> FindIdxLabels(const std::string& images);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_IDX_NAMES_H_
