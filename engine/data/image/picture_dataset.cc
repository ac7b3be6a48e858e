#include "engine/data/image/picture_dataset.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {
namespace {

// Of one side of what a network sees: its activations would not fit any memory beyond.
constexpr int64_t kMostPixels = 16384;

// The size that a picture is resized to before a part is cut out. One so narrow that its longer
// side would be longer than anything a network sees is squeezed.
PictureSize FittedSize(PictureSize from, const PictureOptions& options) {
  const PictureSize to{options.height, options.width};
  if (options.fit == PictureFit::kStretch) return to;
  const int64_t shorter = options.shorter_side;
  PictureSize fitted;
  if (shorter == 0) {
    // Whichever side would fall short decides; the other is at least as large as wanted.
    if (to.height * from.width >= to.width * from.height) {
      fitted = {to.height, std::max(to.width, from.width * to.height / from.height)};
    } else {
      fitted = {std::max(to.height, from.height * to.width / from.width), to.width};
    }
  } else if (from.height >= from.width) {  // as torchvision's Resize truncates
    fitted = {shorter * from.height / from.width, shorter};
  } else {
    fitted = {shorter, shorter * from.width / from.height};
  }
  return {std::min(fitted.height, kMostPixels), std::min(fitted.width, kMostPixels)};
}

// What a thread that makes one picture after another uses again.
struct Workspace {
  lockstep::Picture decoded;
  ResizeScratch resize;
  std::vector<float> converted, resized, turned;
};

Status CheckConversion(const PictureView& picture, int64_t channels) {
  if (picture.channels == channels || (picture.channels == 1 && channels == 3) ||
      (picture.channels == 3 && channels == 1)) {
    return Status::Ok();
  }
  return Status::Invalid("a picture of " + std::to_string(picture.channels) +
                         " channels cannot be shown with " + std::to_string(channels));
}

// The picture as the network sees it: to (height, width, channels). `numbers` null: evaluation.
struct Numbers {
  const AugmentOptions& options;
  int64_t epoch, sample;
};
Status Show(PictureView picture, const PictureOptions& options, const Numbers* numbers,
            const float* fill, Workspace& work, float* to) {
  const PictureSize size{options.height, options.width};
  const int64_t channels = options.channels;
  LOCKSTEP_TRY(CheckConversion(picture, channels));
  if (picture.channels != channels) {
    work.converted.resize(static_cast<size_t>(picture.height * picture.width * channels));
    ConvertPicture(picture, channels, work.converted.data());
    picture = {picture.height, picture.width, channels,
               static_cast<const float*>(work.converted.data())};
  }
  PictureSize from{picture.height, picture.width};
  const auto resize = [&](const PictureBox& box, PictureSize out) {
    work.resized.resize(static_cast<size_t>(out.height * out.width * channels));
    ResizePicture(picture, box, out.height, out.width, work.resize, work.resized.data());
    picture = {out.height, out.width, channels, static_cast<const float*>(work.resized.data())};
    from = out;
  };

  const bool boxed = numbers != nullptr && numbers->options.crop == PictureCrop::kRandomResized;
  if (!boxed) {
    const PictureSize fitted = FittedSize(from, options);
    if (!(fitted == from)) resize({0, 0, from.height, from.width}, fitted);
  }
  if (numbers == nullptr) {
    CropPicture(picture, CentreStart(from.height, size.height), CentreStart(from.width, size.width),
                /*flip=*/false, /*vertical_flip=*/false, PictureEdge::kFill, fill, size, to);
    return Status::Ok();
  }

  const AugmentOptions& augment = numbers->options;
  const Augmentation drawn = DrawAugmentation(augment, numbers->epoch, numbers->sample, from, size);
  if (boxed) resize(drawn.box, size);
  const bool turns = drawn.turns != 0.0;
  if (turns) work.turned.resize(static_cast<size_t>(size.height * size.width * channels));
  float* cropped = turns ? work.turned.data() : to;
  CropPicture(picture, drawn.top, drawn.left, drawn.flip, drawn.vertical_flip, augment.edge, fill,
              size, cropped);
  if (turns) RotatePicture(cropped, size, channels, drawn.turns, fill, to);
  if (augment.brightness > 0.0) ScaleBrightness(size, channels, drawn.brightness, to);
  if (augment.contrast > 0.0) ScaleContrast(size, channels, drawn.contrast, to);
  if (augment.cutout > 0)
    CutOut(size, channels, augment.cutout, drawn.cutout_y, drawn.cutout_x, fill, to);
  return Status::Ok();
}

Status CheckOptions(const std::string& name, const PictureOptions& options) {
  const auto within = [](int64_t n) { return n >= 1 && n <= kMostPixels; };
  if (!within(options.height) || !within(options.width)) {
    return Status::Invalid(name + ": the network's pictures must have 1 to " +
                           std::to_string(kMostPixels) + " pixels a side, not " +
                           std::to_string(options.height) + " x " + std::to_string(options.width) +
                           "; say which size where pictures differ");
  }
  if (options.channels < 1) {
    return Status::Invalid(name +
                           ": say whether the network sees 1 channel or 3, as pictures "
                           "differ");
  }
  if (options.shorter_side < 0 || options.shorter_side > kMostPixels) {
    return Status::Invalid(name + ": the shorter side of a picture must be 0 to " +
                           std::to_string(kMostPixels) + " pixels, not " +
                           std::to_string(options.shorter_side));
  }
  if (options.shorter_side > 0 && options.fit == PictureFit::kStretch) {
    return Status::Invalid(name + ": a stretched picture has the network's size, no shorter side");
  }
  return Status::Ok();
}

}  // namespace

struct PictureDataset::Scratch : Workspace {
  std::vector<float> other;  // what is mixed in
};

class PictureDataset::Skipped {
 public:
  void Add(const Status& status) {
    const std::lock_guard lock(mutex_);
    ++count_;
    const auto same = [&](const Status& one) { return one.message() == status.message(); };
    if (examples_.size() < kMostExamples &&
        std::none_of(examples_.begin(), examples_.end(), same)) {
      examples_.push_back(status);
    }
  }
  int64_t count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }
  std::vector<Status> examples() const {
    const std::lock_guard lock(mutex_);
    return examples_;
  }

 private:
  static constexpr size_t kMostExamples = 10;
  mutable std::mutex mutex_;
  int64_t count_ = 0;
  std::vector<Status> examples_;
};

PictureDataset::PictureDataset(DatasetInfo info, std::shared_ptr<const PictureSource> source,
                               const PictureOptions& options, std::optional<AugmentOptions> augment,
                               std::vector<int64_t> mixed)
    : Dataset(std::move(info)),
      source_(std::move(source)),
      options_(options),
      augment_(std::move(augment)),
      mixed_(std::move(mixed)),
      fill_(static_cast<size_t>(options.channels)),
      skipped_(std::make_shared<Skipped>()) {
  if (!augment_ || augment_->fill.empty()) return;
  for (size_t c = 0; c < fill_.size(); ++c)
    fill_[c] = augment_->fill[augment_->fill.size() == 1 ? 0 : c];
}

Result<std::shared_ptr<const PictureDataset>> PictureDataset::Make(
    std::shared_ptr<const PictureSource> source, const PictureOptions& options,
    std::optional<AugmentOptions> augment, std::vector<int64_t> mixed) {
  const PictureSourceInfo& pictures = source->info();
  PictureOptions all = options;
  if (all.height == 0) all.height = pictures.height;
  if (all.width == 0) all.width = pictures.width;
  if (all.channels == 0) all.channels = pictures.channels;
  LOCKSTEP_TRY(CheckOptions(pictures.name, all));
  if (pictures.channels != 0) {
    const PictureView any{.channels = pictures.channels};
    LOCKSTEP_TRY(CheckConversion(any, all.channels).At(pictures.name));
  }
  if (augment) {
    LOCKSTEP_TRY(CheckAugmentOptions(*augment).At(pictures.name));
    const auto fills = static_cast<int64_t>(augment->fill.size());
    if (fills > 1 && fills != all.channels) {
      return Status::Invalid(pictures.name + ": a fill of " + std::to_string(fills) +
                             " numbers does not fit " + std::to_string(all.channels) + " channels");
    }
    if (augment->mixup > 0.0 && !all.soft_targets)
      return Status::Invalid(pictures.name + ": mixup needs soft targets");
    if (augment->mixup > 0.0 && mixed.empty())
      return Status::Invalid(pictures.name + ": mixup needs samples that may be mixed in");
    for (const int64_t index : mixed) {
      if (index < 0 || index >= source->size()) {
        return Status::Invalid(pictures.name + ": sample " + std::to_string(index) +
                               " is not in 0 to " + std::to_string(source->size() - 1));
      }
    }
  }
  DatasetInfo info{.name = pictures.name,
                   .size = source->size(),
                   .x_shape = {all.height, all.width, all.channels},
                   .classes = pictures.classes,
                   .class_names = pictures.class_names,
                   .content = pictures.content};
  if (all.soft_targets) {
    info.target_dtype = DType::kF32;
    info.target_shape = {pictures.classes};
  }
  return std::shared_ptr<const PictureDataset>(new PictureDataset(
      std::move(info), std::move(source), all, std::move(augment), std::move(mixed)));
}

Result<std::shared_ptr<const PictureDataset>> PictureDataset::Evaluation(
    std::shared_ptr<const PictureSource> source, const PictureOptions& options) {
  return Make(std::move(source), options, std::nullopt, {});
}

Result<std::shared_ptr<const PictureDataset>> PictureDataset::Training(
    std::shared_ptr<const PictureSource> source, const PictureOptions& options,
    const AugmentOptions& augment, std::vector<int64_t> mixed) {
  return Make(std::move(source), options, augment, std::move(mixed));
}

Status PictureDataset::Augmented(int64_t index, int64_t epoch, Scratch& scratch, float* to) const {
  LOCKSTEP_TRY_ASSIGN(const PictureView picture, source_->Read(index, scratch.decoded));
  if (!augment_) return Show(picture, options_, nullptr, fill_.data(), scratch, to);
  const Numbers numbers{*augment_, epoch, index};
  return Show(picture, options_, &numbers, fill_.data(), scratch, to);
}

// x and target hold the sample by itself; afterwards
//   x = share x_a + (1 - share) x_b,  target likewise
// A partner that cannot be read is left out.
Status PictureDataset::Mix(int64_t index, int64_t epoch, Scratch& scratch, float* x,
                           float* target) const {
  const Mixing mixing = DrawMixing(*augment_, epoch, index, static_cast<int64_t>(mixed_.size()));
  const int64_t partner = mixed_[static_cast<size_t>(mixing.partner)];
  const int32_t label = source_->info().labels[static_cast<size_t>(partner)];
  if (label == kIgnoredTarget) return Status::Ok();
  if (x != nullptr) {
    scratch.other.resize(static_cast<size_t>(info().x_shape.size()));
    LOCKSTEP_TRY(Augmented(partner, epoch, scratch, scratch.other.data()));
    const float share = mixing.share, rest = 1.0f - share;
    for (size_t i = 0; i < scratch.other.size(); ++i) x[i] = share * x[i] + rest * scratch.other[i];
  }
  if (target != nullptr) {
    for (int64_t c = 0; c < info().classes; ++c) target[c] *= mixing.share;
    target[label] += 1.0f - mixing.share;
  }
  return Status::Ok();
}

Status PictureDataset::Read(std::span<const int64_t> indices, Tensor x, Tensor target,
                            int64_t epoch) const {
  Scratch scratch;
  const int64_t size = info().x_shape.size(), classes = info().classes;
  const bool mixes = augment_ && augment_->mixup > 0.0;
  for (size_t i = 0; i < indices.size(); ++i) {
    const int64_t index = indices[i];
    int32_t label = source_->info().labels[static_cast<size_t>(index)];
    float* to = x.empty() ? nullptr : x.f32() + static_cast<int64_t>(i) * size;
    // What cannot be read counts for nothing, if that was asked for.
    const auto passed = [&](const Status& status) {
      if (status.ok() || options_.bad == BadPictures::kError) return status;
      skipped_->Add(status);
      return Status::Ok();
    };
    if (to != nullptr) {
      const Status status = Augmented(index, epoch, scratch, to);
      LOCKSTEP_TRY(passed(status));
      if (!status.ok()) {
        std::fill_n(to, size, 0.0f);
        label = kIgnoredTarget;
      }
    }
    float* row = nullptr;
    if (!target.empty() && !options_.soft_targets) target.as<int32_t>()[i] = label;
    if (!target.empty() && options_.soft_targets) {
      row = target.f32() + static_cast<int64_t>(i) * classes;
      std::fill_n(row, classes, 0.0f);
      if (label != kIgnoredTarget) row[label] = 1.0f;
    }
    if (mixes && label != kIgnoredTarget) LOCKSTEP_TRY(passed(Mix(index, epoch, scratch, to, row)));
  }
  return Status::Ok();
}

int64_t PictureDataset::skipped() const { return skipped_->count(); }
std::vector<Status> PictureDataset::skipped_examples() const { return skipped_->examples(); }

Status FitPicture(const PictureView& picture, const PictureOptions& options, Tensor x) {
  LOCKSTEP_TRY(CheckOptions("picture", options));
  LOCKSTEP_CHECK_EQ(x.shape(), Shape({1, options.height, options.width, options.channels}));
  Workspace work;
  const std::vector<float> fill(static_cast<size_t>(options.channels));
  return Show(picture, options, nullptr, fill.data(), work, x.f32());
}

}  // namespace lockstep
