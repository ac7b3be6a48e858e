// Pictures as a network sees them: f32 (H, W, C), 1 for white, all of one size.
//
//   evaluation   resize, centre crop
//   training     resize, then what AugmentOptions says
// Standardise them like any features: MeasurePictures (picture_statistics.h) on the evaluation
// view of the training split, Standardized (standardize.h) around both views.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_PICTURE_DATASET_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_PICTURE_DATASET_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/image/augment.h"
#include "engine/data/image/picture_source.h"

namespace lockstep::inline v0_1 {

enum class PictureFit {
  kCrop,     // the shorter side becomes `shorter_side`, then a part of the size is cut out
  kStretch,  // to the size, whatever happens to the proportions
};

struct PictureOptions {
  // What the network sees; 0: as the pictures are, if all are alike.
  int64_t height = 0, width = 0;
  int64_t channels = 0;  // 1 or 3; pictures with the other number are converted
  PictureFit fit = PictureFit::kCrop;
  // For kCrop; 0: just so that the picture covers height x width. A smaller one than these leaves a
  // border of `fill` (torchvision's CenterCrop), or whatever `edge` says in training.
  int64_t shorter_side = 0;
  // Targets are rows of class probabilities, f32 (classes), for
  // CrossEntropyLossOptions::probabilities; mixup needs it, in evaluation too.
  bool soft_targets = false;
  // A picture that cannot be read any more: an error in the place of its batch, or black with a
  // target that counts for nothing (kIgnoredTarget, or a row of zeros).
  BadPictures bad = BadPictures::kError;
};

class PictureDataset final : public Dataset {
 public:
  // For evaluation. Errors: options out of range, a size of 0 where pictures differ.
  static Result<std::shared_ptr<const PictureDataset>> Evaluation(
      std::shared_ptr<const PictureSource> source, const PictureOptions& options);
  // For training. `mixed`: the samples that mixup may mix in, of the training split. They are drawn
  // from all of these and not from the batch, so that a sample does not depend on how batches are
  // cut; the price is a second picture to decode. Errors: as above, or mixup without soft_targets
  // or without samples.
  static Result<std::shared_ptr<const PictureDataset>> Training(
      std::shared_ptr<const PictureSource> source, const PictureOptions& options,
      const AugmentOptions& augment, std::vector<int64_t> mixed);

  // How often a picture could not be read so far, and the first few errors.
  int64_t skipped() const;
  std::vector<Status> skipped_examples() const;

 private:
  struct Scratch;
  class Skipped;
  PictureDataset(DatasetInfo info, std::shared_ptr<const PictureSource> source,
                 const PictureOptions& options, std::optional<AugmentOptions> augment,
                 std::vector<int64_t> mixed);
  static Result<std::shared_ptr<const PictureDataset>> Make(
      std::shared_ptr<const PictureSource> source, const PictureOptions& options,
      std::optional<AugmentOptions> augment, std::vector<int64_t> mixed);

  Status Read(std::span<const int64_t> indices, Tensor x, Tensor target,
              int64_t epoch) const override;
  Status Augmented(int64_t index, int64_t epoch, Scratch& scratch, float* to) const;
  Status Mix(int64_t index, int64_t epoch, Scratch& scratch, float* x, float* target) const;

  std::shared_ptr<const PictureSource> source_;
  PictureOptions options_;
  std::optional<AugmentOptions> augment_;
  std::vector<int64_t> mixed_;
  std::vector<float> fill_;  // one per channel
  std::shared_ptr<Skipped> skipped_;
};

// One picture as evaluation sees it, for prediction: x (1, H, W, C), of the size and channels that
// `options` say. Error: channels that cannot be converted.
Status FitPicture(const PictureView& picture, const PictureOptions& options, Tensor x);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_PICTURE_DATASET_H_
