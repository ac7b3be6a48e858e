// How many pictures a second come out of a dataset, and what a loader adds to a loop that computes
// for itself: the loop must not become slower by more than the cores it gives away.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/data/image/picture_dataset.h"
#include "engine/data/loader.h"
#include "engine/data/table/standardize.h"

namespace lockstep::inline v0_1 {
namespace {

std::shared_ptr<const PictureSource> Noise(int64_t size, int64_t height, int64_t width) {
  Random random(1, 1);
  std::vector<uint8_t> bytes(static_cast<size_t>(size * height * width * 3));
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random.Word());
  DatasetInfo info{.name = "noise", .size = size, .x_shape = {height, width, 3}, .classes = 10};
  return MemoryPictures(InMemoryDataset::Make(std::move(info), std::move(bytes),
                                              std::vector<int32_t>(static_cast<size_t>(size)))
                            .value())
      .value();
}

std::shared_ptr<const Dataset> Training(const std::shared_ptr<const PictureSource>& source,
                                        const PictureOptions& options,
                                        const AugmentOptions& augment) {
  std::shared_ptr<const Dataset> pictures =
      PictureDataset::Training(source, options, augment, AllIndices(source->size())).value();
  return Standardized(pictures,
                      Standardizer::FromVectors({0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}).value())
      .value();
}

const AugmentOptions kCifar{.crop = PictureCrop::kRandom, .pad = 4, .flip = 0.5};

void Cifar(benchmark::State& state, const AugmentOptions& augment, bool soft) {
  const auto dataset = Training(Noise(10000, 32, 32), {.soft_targets = soft}, augment);
  const auto loader = Loader::Make(dataset, AllIndices(10000), {.batch = 128}).value();
  int64_t pictures = 0;
  for (auto _ : state) {
    const Batch* batch = loader->Next().value();
    if (batch == nullptr) batch = loader->Next().value();
    benchmark::DoNotOptimize(batch->x.data());
    pictures += batch->count;
  }
  state.SetItemsProcessed(pictures);
}
BENCHMARK_CAPTURE(Cifar, crop_flip, kCifar, false);
BENCHMARK_CAPTURE(Cifar, all,
                  AugmentOptions{.crop = PictureCrop::kRandom,
                                 .pad = 4,
                                 .flip = 0.5,
                                 .rotation = 15.0,
                                 .brightness = 0.2,
                                 .contrast = 0.2,
                                 .cutout = 8,
                                 .mixup = 0.2},
                  true);

// Without decoding: 500 x 375 to 224.
void ResizedCrop(benchmark::State& state) {
  const auto dataset = Training(Noise(16, 375, 500), {.height = 224, .width = 224},
                                {.crop = PictureCrop::kRandomResized, .flip = 0.5});
  const auto loader = Loader::Make(dataset, AllIndices(16), {.batch = 16}).value();
  int64_t pictures = 0;
  for (auto _ : state) {
    const Batch* batch = loader->Next().value();
    if (batch == nullptr) batch = loader->Next().value();
    pictures += batch->count;
  }
  state.SetItemsProcessed(pictures);
}
BENCHMARK(ResizedCrop);

// A step that computes for 20 ms of its thread's time, with batches of 128 prepared ahead or not;
// range(0): batches ahead; -1: the same batch again and again.
void StepOf20ms(benchmark::State& state) {
  const auto dataset = Training(Noise(10000, 32, 32), {}, kCifar);
  const auto ahead = static_cast<int>(state.range(0));
  const auto loader =
      Loader::Make(dataset, AllIndices(10000), {.batch = 128, .prefetch = ahead < 0 ? 0 : ahead})
          .value();
  const Batch* batch = loader->Next().value();
  double sink = 0.0;
  for (auto _ : state) {
    if (ahead >= 0) batch = loader->Next().value();
    if (batch == nullptr) batch = loader->Next().value();
    for (int i = 0; i < 8'000'000; ++i) sink = sink * 0.999 + 1.0;
    benchmark::DoNotOptimize(sink);
    benchmark::DoNotOptimize(batch->x.data());
  }
}
BENCHMARK(StepOf20ms)->Arg(-1)->Arg(0)->Arg(2)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace lockstep
