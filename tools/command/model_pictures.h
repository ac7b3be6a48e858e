// Pictures for a trained model: files, folders of them and data sets, brought to what its network
// saw in evaluation. The model file alone is enough.
#ifndef LOCKSTEP_TOOLS_COMMAND_MODEL_PICTURES_H_
#define LOCKSTEP_TOOLS_COMMAND_MODEL_PICTURES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/image/picture_source.h"
#include "models/recipe_saved.h"

namespace lockstep::inline v0_1::tools {

// Whether its samples are pictures (H, W, C).
bool TakesPictures(const SavedModel& model);

// How many samples go through the network at a time: of pictures as many as in training, which had
// the memory for them.
int64_t PredictionBatch(const SavedModel& model, int64_t samples);

// Picture files, each decoded when it is asked for. Files that cannot be read give errors, which
// are kept.
class PictureFiles final : public PictureSource {
 public:
  // `channels`: 1 or 3.
  PictureFiles(std::vector<std::string> paths, int64_t channels);

  Result<PictureView> Read(int64_t index, Picture& scratch) const override;

  const std::string& path(int64_t index) const { return paths_[static_cast<size_t>(index)]; }
  // Of the last Read of this file, which must have ended.
  const Status& status(int64_t index) const { return statuses_[static_cast<size_t>(index)]; }

 private:
  std::vector<std::string> paths_;
  int64_t channels_;
  mutable std::vector<Status> statuses_;  // each written by whoever reads that file
};

// Whether these are picture files and folders of such, not an IDX file.
bool AreFilesOrFolders(const std::vector<std::string>& inputs);

// Files as they are named; folders with all pictures in them and in their folders, sorted by byte.
// Errors: a folder without pictures, or one that may not be read.
Result<std::vector<std::string>> ListPictures(const std::vector<std::string>& inputs);

// The pictures of `source` as the network takes them, but for model.standardizer. Those that cannot
// be read are black, with the target kIgnoredTarget.
Result<std::shared_ptr<const Dataset>> PicturesFor(const SavedModel& model,
                                                   std::shared_ptr<const PictureSource> source);

// The images of an IDX file likewise; the targets mean nothing.
Result<std::shared_ptr<const Dataset>> IdxImagesFor(const SavedModel& model,
                                                    const std::string& path);

// Pictures with their classes, standardised: a folder with a folder for each class (of a split one
// its test pictures), a CIFAR file or folder, an IDX file of images beside that of its labels, or
// a folder of MNIST's files (of which the test pictures). Error: classes that the model does not
// know.
Result<std::shared_ptr<const Dataset>> LabelledPicturesFor(const SavedModel& model,
                                                           const std::string& path);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_MODEL_PICTURES_H_
