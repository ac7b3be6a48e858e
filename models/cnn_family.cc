#include "models/cnn_family.h"

#include <algorithm>
#include <cmath>

#include "models/conv_net.h"
#include "models/mobilenet.h"
#include "models/resnet.h"

namespace lockstep::inline v0_1 {
namespace {

std::string SizeText(const Shape& picture) {
  return std::to_string(picture[0]) + " x " + std::to_string(picture[1]) + " pixels";
}

// So that no layer deep inside has to say it, in terms of which the recipe knows nothing.
Status CheckGroups(const CnnFamily& family, const ConvNorm& norm, int64_t channels) {
  if (norm.kind != ConvNorm::Kind::kGroup || channels % norm.groups == 0) return Status::Ok();
  return Status::Invalid("model.groups = " + std::to_string(norm.groups) + " does not divide " +
                         std::to_string(channels) + " channels of " + family.architecture +
                         "; give a divisor, or model.norm = \"batch\"");
}

Result<std::unique_ptr<Layer>> BuildConvNet(const CnnFamily& family, const ConvNorm& norm,
                                            const DatasetInfo& samples) {
  if (family.kernel % 2 == 0) {
    return Status::Invalid("model.kernel = " + std::to_string(family.kernel) +
                           " is even: an odd one keeps pictures as large as they are");
  }
  if (family.channels.empty())
    return Status::Invalid("model.channels is empty: give the channels of at least one stage");
  for (const int64_t channels : family.channels) {
    if (channels > 65536)
      return Status::Invalid("model.channels: " + std::to_string(channels) + " are too many");
    LOCKSTEP_TRY(CheckGroups(family, norm, channels));
  }
  const size_t stages = family.channels.size();
  const int64_t smallest = std::min(samples.x_shape[0], samples.x_shape[1]);
  if (stages >= 62 || (int64_t{1} << stages) > smallest) {
    return Status::Invalid("pictures of " + SizeText(samples.x_shape) +
                           " are too small for model.channels with " + std::to_string(stages) +
                           " stages, each of which halves them; give fewer stages or larger "
                           "pictures (data.picture_size)");
  }
  LOCKSTEP_TRY_ASSIGN(const bool average, Chosen("model.head", CnnFamily::kHeads, family.head));
  return std::unique_ptr<Layer>(
      std::make_unique<Sequential>(ConvNet({.channels = family.channels,
                                            .blocks = family.blocks,
                                            .kernel = family.kernel,
                                            .norm = norm,
                                            .average = average,
                                            .hidden = family.head_width,
                                            .dropout = family.dropout,
                                            .classes = OutputsOf(samples)})));
}

Result<std::unique_ptr<Layer>> BuildResNet(const CnnFamily& family, ResNetOptions options,
                                           const DatasetInfo& samples) {
  if (family.depth > 100000)
    return Status::Invalid("model.depth = " + std::to_string(family.depth) + " is no depth");
  if (family.depth > 0) options.depth = static_cast<int>(family.depth);
  LOCKSTEP_TRY(CheckDepth(options).At("model.depth"));
  options.width = std::llround(static_cast<double>(options.width) * family.width);
  if (options.width < 1)
    return Status::Invalid("model.width leaves no channels; give a larger one");
  LOCKSTEP_TRY(CheckGroups(family, options.norm, options.width));
  options.classes = OutputsOf(samples);
  options.skip = family.skip;
  options.zero_init_residual = family.zero_init_residual;
  return std::unique_ptr<Layer>(std::make_unique<ResNet>(options));
}

Result<std::unique_ptr<Layer>> BuildImageNetResNet(const CnnFamily& family, const ConvNorm& norm,
                                                   const DatasetInfo& samples) {
  return BuildResNet(family, {.depth = 18, .norm = norm}, samples);
}

Result<std::unique_ptr<Layer>> BuildCifarResNet(const CnnFamily& family, const ConvNorm& norm,
                                                const DatasetInfo& samples) {
  return BuildResNet(family,
                     {.stem = ResNetOptions::Stem::kCifar, .depth = 20, .width = 16, .norm = norm},
                     samples);
}

// All its numbers of channels are multiples of 8, and 8 the largest that divides them all.
template <bool kSmallPictures>
Result<std::unique_ptr<Layer>> BuildMobileNet(const CnnFamily& family, const ConvNorm& norm,
                                              const DatasetInfo& samples) {
  LOCKSTEP_TRY(CheckGroups(family, norm, 8));
  return std::unique_ptr<Layer>(
      std::make_unique<MobileNetV2>(MobileNetV2Options{.classes = OutputsOf(samples),
                                                       .width = family.width,
                                                       .dropout = family.dropout,
                                                       .norm = norm,
                                                       .small_pictures = kSmallPictures}));
}

constexpr Choice<CnnFamily::Builder> kArchitectures[] = {{"conv_net", BuildConvNet},
                                                         {"resnet", BuildImageNetResNet},
                                                         {"cifar_resnet", BuildCifarResNet},
                                                         {"mobilenet_v2", BuildMobileNet<false>},
                                                         {"mobilenet_small", BuildMobileNet<true>}};

}  // namespace

KeyLimits CnnFamily::ArchitectureNames() { return OneOf(kArchitectures); }

Result<std::unique_ptr<Layer>> CnnFamily::Build(const DatasetInfo& samples) const {
  if (samples.x_shape.rank() != 3 || samples.x_dtype != DType::kF32) {
    return Status::Invalid(
        "model.kind = \"cnn\" takes pictures (height, width, channels), but "
        "each sample is " +
        samples.x_shape.ToString() + "; choose another data.kind, or model.kind = \"mlp\"");
  }
  LOCKSTEP_TRY_ASSIGN(const Builder build,
                      Chosen("model.architecture", kArchitectures, architecture));
  ConvNorm conv_norm{.groups = groups};
  LOCKSTEP_TRY_ASSIGN(conv_norm.kind, Chosen("model.norm", kNorms, norm));
  BatchNormOptions& batch_norm = conv_norm.batch_norm;
  batch_norm.eps = eps;
  LOCKSTEP_TRY_ASSIGN(batch_norm.convention,
                      Chosen("model.convention", MlpFamily::kConventions, convention));
  LOCKSTEP_TRY_ASSIGN(batch_norm.single_value,
                      Chosen("model.single_value", MlpFamily::kSingleValues, single_value));
  if (momentum >= 0.0) batch_norm.momentum = momentum;
  batch_norm.sync = sync;
  return build(*this, conv_norm, samples);
}

}  // namespace lockstep
