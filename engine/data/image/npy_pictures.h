// Pictures and labels as two NPY files, as NumPy programs leave them.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_NPY_PICTURES_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_NPY_PICTURES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/status.h"
#include "engine/data/dataset.h"

namespace lockstep::inline v0_1 {

// Pictures (N, H, W) become (H, W, 1), (N, H, W, C) stay (H, W, C), C at most 4: pictures whose
// channels come first are refused. u8 stays bytes and is scaled when gathered; f32 is taken as it
// is, finite. Labels (N) or (N, 1) are integers from 0 on; the classes are those that occur, named
// by their labels (class_numbers.h).
Result<std::shared_ptr<const InMemoryDataset>> LoadNpyPictures(const std::string& pictures,
                                                               const std::string& labels,
                                                               ByteScale byte_scale = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_NPY_PICTURES_H_
