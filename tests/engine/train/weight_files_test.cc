// engine/train/weight_files.h: orders of dimensions, prefixes, kinds of numbers, new heads. What
// PyTorch itself wrote is in state_dict_test.cc and tests/models.
#include "engine/train/weight_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "engine/checkpoint/checkpoint.h"
#include "engine/io/safetensors.h"
#include "engine/train/checkpointing.h"
#include "layers/activation.h"
#include "layers/batch_norm.h"
#include "layers/dropout.h"
#include "layers/flatten.h"
#include "layers/layer_norm.h"
#include "layers/linear.h"
#include "layers/mse.h"
#include "layers/sequential.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep {
namespace {

using ::testing::HasSubstr;

TEST(FileOrderTest, PutsChannelsInFrontAndBack) {
  // (O, KH, KW, I) of a convolution, extents of 1 and primes among them.
  for (const Shape& view : {Shape{5, 3, 7, 2}, Shape{1, 1, 1, 1}, Shape{2, 1, 3, 13}}) {
    const FileLayout layout{
        .view = view, .order = {0, 3, 1, 2}, .file = {view[0], view[3], view[1], view[2]}};
    const auto size = static_cast<size_t>(view.size());
    std::vector<float> memory(size), file(size, NAN), back(size, NAN);
    std::iota(memory.begin(), memory.end(), 0.0f);
    ToFileOrder(layout, memory, file);
    const int64_t kh = view[1], kw = view[2], in = view[3];
    for (int64_t o = 0; o < view[0]; ++o)
      for (int64_t y = 0; y < kh; ++y)
        for (int64_t x = 0; x < kw; ++x)
          for (int64_t i = 0; i < in; ++i)
            ASSERT_EQ(file[static_cast<size_t>(((o * in + i) * kh + y) * kw + x)],
                      memory[static_cast<size_t>(((o * kh + y) * kw + x) * in + i)]);
    FromFileOrder(layout, file, back);
    EXPECT_EQ(back, memory);
  }
}

TEST(FileOrderTest, OfNothingIsNothing) {
  const FileLayout layout{.view = {0, 3, 3, 2}, .order = {0, 3, 1, 2}, .file = {0, 2, 3, 3}};
  ToFileOrder(layout, {}, {});
  FromFileOrder(layout, {}, {});
}

class WeightFilesTest : public ::testing::Test {
 protected:
  Network Bind(Sequential layers, Shape input, uint64_t seed = 1) {
    Result<Network> net = Network::Bind(ctx_, std::move(layers), {.input = input, .seed = seed});
    EXPECT_TRUE(net.ok()) << net.status().message();
    return std::move(*net);
  }
  // A batch norm between two products.
  Network Small(uint64_t seed, int64_t outputs = 3, int64_t hidden = 4) {
    return Bind(Sequential(Linear(hidden), BatchNorm(), Relu(), Linear(outputs)), {2, 5}, seed);
  }
  std::vector<NamedConstTensor> TensorsOf(const Network& net, const std::string& prefix = "") {
    std::vector<NamedConstTensor> tensors;
    for (const NamedTensor& named : ModelTensors(net))
      tensors.emplace_back(prefix + named.name, named.tensor);
    return tensors;
  }
  std::string Written(const std::vector<NamedConstTensor>& tensors) {
    const Status status = WriteSafetensors(folder_ / "file", tensors, {});
    EXPECT_TRUE(status.ok()) << status.message();
    return folder_ / "file";
  }

  Context ctx_{{.threads = 1}};
  TemporaryFolder folder_;
};

// Element (n, h, w, c) of a weight on pictures 2x3 with 4 channels.
float Element(int64_t n, int64_t h, int64_t w, int64_t c) {
  return static_cast<float>(((n * 2 + h) * 3 + w) * 4 + c);
}

TEST_F(WeightFilesTest, ColumnsOfAFlattenedPictureHaveTheChannelsInFront) {
  // What stands between them element by element changes nothing.
  Network net =
      Bind(Sequential(Flatten(), Relu(), Dropout(0.5), Linear(5), Linear(3)), {2, 2, 3, 4});
  {
    const ParameterWriter writer = net.Write();
    for (int64_t i = 0; i < 5 * 24; ++i)
      writer->value(0).f32()[i] = Element(i / 24, i / 12 % 2, i / 4 % 3, i % 4);
  }
  ASSERT_TRUE(ExportWeights(folder_ / "file", net).ok());
  const SafetensorsFile file = ReadSafetensors(folder_ / "file").value();
  const StoredTensor* weight = file.Find("3.weight");
  ASSERT_NE(weight, nullptr);
  ASSERT_EQ(weight->shape, (Shape{5, 24}));
  const std::span<const float> values = weight->view().span<float>();
  for (int64_t n = 0; n < 5; ++n)
    for (int64_t c = 0; c < 4; ++c)
      for (int64_t h = 0; h < 2; ++h)
        for (int64_t w = 0; w < 3; ++w)
          ASSERT_EQ(values[static_cast<size_t>(((n * 4 + c) * 2 + h) * 3 + w)],
                    Element(n, h, w, c));
  // The product behind is one with 5 plain features.
  const ConstTensor last = net.parameters().value(2);
  EXPECT_EQ(std::memcmp(file.Find("4.weight")->data.data(), last.data(), last.bytes()), 0);

  Network again =
      Bind(Sequential(Flatten(), Relu(), Dropout(0.5), Linear(5), Linear(3)), {2, 2, 3, 4}, 2);
  ASSERT_TRUE(ImportWeights(folder_ / "file", again).ok());
  EXPECT_EQ(ModelHash(again), ModelHash(net));
}

// Numbers by channel of it as well, running statistics among them.
TEST_F(WeightFilesTest, ANormOfAFlattenedPictureHasTheChannelsInFront) {
  const auto layers = [] { return Sequential(Flatten(), BatchNorm(), LayerNorm(), Linear(5)); };
  Network net = Bind(layers(), {2, 2, 3, 4});
  {
    const ParameterWriter writer = net.Write();
    for (const size_t p : {0, 1, 2, 3})
      std::iota(writer->value(p).f32(), writer->value(p).f32() + 24, 0.0f);
    for (const size_t s : {0, 1})
      std::iota(writer.state(s).f32(), writer.state(s).f32() + 24, 0.0f);
  }
  ASSERT_TRUE(ExportWeights(folder_ / "file", net).ok());
  const SafetensorsFile file = ReadSafetensors(folder_ / "file").value();
  for (const char* name :
       {"1.weight", "1.bias", "1.running_mean", "1.running_var", "2.weight", "2.bias"}) {
    const StoredTensor* stored = file.Find(name);
    ASSERT_NE(stored, nullptr) << name;
    ASSERT_EQ(stored->shape, (Shape{24}));
    const std::span<const float> values = stored->view().span<float>();
    for (int64_t c = 0; c < 4; ++c)
      for (int64_t h = 0; h < 2; ++h)
        for (int64_t w = 0; w < 3; ++w)
          ASSERT_EQ(values[static_cast<size_t>((c * 2 + h) * 3 + w)], Element(0, h, w, c)) << name;
  }
  Network again = Bind(layers(), {2, 2, 3, 4}, 2);
  ASSERT_TRUE(ImportWeights(folder_ / "file", again).ok());
  EXPECT_EQ(ModelHash(again), ModelHash(net));
}

TEST_F(WeightFilesTest, OnePixelOrOneChannelIsInOrderAlready) {
  for (const Shape& input : {Shape{2, 1, 1, 6}, Shape{2, 3, 2, 1}, Shape{2, 6}}) {
    Network net = Bind(Sequential(Flatten(), Linear(3)), input);
    EXPECT_TRUE(net.store().infos()[0].layout.plain()) << input;
  }
}

TEST_F(WeightFilesTest, WhatAllNamesBeginWithIsLeftAway) {
  Network net = Small(1);
  for (const std::string prefix : {"module.", "model.", "_orig_mod.module.", "a.b.c."}) {
    Network other = Small(2);
    const Status status = ImportWeights(Written(TensorsOf(net, prefix)), other);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(ModelHash(other), ModelHash(net)) << prefix;
  }
}

TEST_F(WeightFilesTest, ANameThatTheNetworkHasItselfIsNotLeftAway) {
  // All names of both begin with "0.", and "0.weight" is a name of neither without it.
  Network net = Bind(Sequential(Sequential(Linear(3), Linear(2))), {2, 5}, 1);
  Network other = Bind(Sequential(Sequential(Linear(3), Linear(2))), {2, 5}, 2);
  ASSERT_TRUE(ImportWeights(Written(TensorsOf(net)), other).ok());
  EXPECT_EQ(ModelHash(other), ModelHash(net));
  ASSERT_TRUE(ImportWeights(Written(TensorsOf(net, "0.")), other).ok());
  EXPECT_EQ(ModelHash(other), ModelHash(net));
}

TEST_F(WeightFilesTest, HalvesAndDoublesBecomeFloats) {
  Network net = Small(1);
  const std::vector<NamedConstTensor> tensors = TensorsOf(net);
  // -1.5 in each: F16 0xBE00, BF16 0xBFC0.
  for (const StoredType type : {StoredType::kF16, StoredType::kBF16, StoredType::kF64}) {
    std::vector<StoredTensor> stored(tensors.begin(), tensors.end());
    std::vector<uint16_t> half(20, type == StoredType::kF16 ? 0xBE00 : 0xBFC0);
    std::vector<double> wide(20, -1.5);
    const std::span<const std::byte> bytes = type == StoredType::kF64
                                                 ? std::as_bytes(std::span<const double>(wide))
                                                 : std::as_bytes(std::span<const uint16_t>(half));
    stored[0] = StoredTensor("0.weight", type, {4, 5}, bytes);
    ASSERT_TRUE(WriteSafetensors(folder_ / "file", stored, {}).ok());
    Network other = Small(2);
    const Status status = ImportWeights(folder_ / "file", other);
    ASSERT_TRUE(status.ok()) << status.message();
    for (const float v : other.parameters().value(0).span<float>()) EXPECT_EQ(v, -1.5f);
  }
}

TEST_F(WeightFilesTest, ADoubleThatIsNoFloatIsRefused) {
  Network net = Small(1), other = Small(2);
  const std::vector<NamedConstTensor> tensors = TensorsOf(net);
  std::vector<StoredTensor> stored(tensors.begin(), tensors.end());
  std::vector<double> wide(20, 1.0);
  wide[19] = 1e300;
  stored[0] = StoredTensor("0.weight", StoredType::kF64, {4, 5},
                           std::as_bytes(std::span<const double>(wide)));
  ASSERT_TRUE(WriteSafetensors(folder_ / "file", stored, {}).ok());
  const uint64_t before = ModelHash(other);
  EXPECT_THAT(ImportWeights(folder_ / "file", other).message(), HasSubstr("\"0.weight\""));
  EXPECT_EQ(ModelHash(other), before);
}

TEST_F(WeightFilesTest, CountsMayBeAnyNumberOrMissing) {
  Network net = Small(1);
  std::vector<NamedConstTensor> tensors = TensorsOf(net);
  const auto counter = std::find_if(tensors.begin(), tensors.end(), [](const auto& tensor) {
    return tensor.name == "1.num_batches_tracked";
  });
  ASSERT_NE(counter, tensors.end());
  const auto count_of = [](const Network& of) { return *of.state(2).as<int64_t>(); };
  const float seven = 7.0f;
  counter->tensor = ConstTensor(&seven, Shape{1});
  Network other = Small(2);
  ASSERT_TRUE(ImportWeights(Written(tensors), other).ok());
  EXPECT_EQ(count_of(other), 7);
  const float none = NAN;
  counter->tensor = ConstTensor(&none, Shape{});
  EXPECT_THAT(ImportWeights(Written(tensors), other).message(), HasSubstr("is no count"));
  EXPECT_EQ(count_of(other), 7);
  tensors.erase(counter);
  ASSERT_TRUE(ImportWeights(Written(tensors), other).ok());
  EXPECT_EQ(count_of(other), 0);
}

// As many numbers, but in another shape; or a type that no weight has.
TEST_F(WeightFilesTest, OtherShapesAreRefusedAndChangeNothing) {
  Network net = Bind(Sequential(Flatten(), Linear(5)), {2, 2, 3, 4});
  const std::vector<float> floats(120);
  const std::vector<int32_t> ints(120);
  const std::vector<float> bias(5);
  const uint64_t before = ModelHash(net);
  const std::vector<ConstTensor> wrong = {
      {floats.data(), {24, 5}},      {floats.data(), {5, 4, 2, 3}}, {floats.data(), {120}},
      {floats.data(), {5, 2, 3, 4}}, {floats.data(), {1, 5, 24}},   {floats.data(), {5, 23}},
      {floats.data(), {0, 24}},      {floats.data(), Shape{}},      {ints.data(), {5, 24}}};
  for (const ConstTensor& tensor : wrong) {
    const Status status =
        ImportWeights(Written({{"1.bias", {bias.data(), {5}}}, {"1.weight", tensor}}), net);
    EXPECT_THAT(status.message(), HasSubstr("the model needs F32 (5, 24)")) << tensor.shape();
    EXPECT_EQ(ModelHash(net), before);
  }
  EXPECT_FALSE(ImportWeights(Written({}), net).ok());
}

TEST_F(WeightFilesTest, AHeadOfAnotherSizeBeginsAnew) {
  Network theirs = Small(1, 3);
  for (const bool checkpoint : {false, true}) {
    const std::string path = folder_ / "theirs";
    ASSERT_TRUE((checkpoint ? SaveModel(path, theirs, {}) : ExportWeights(path, theirs)).ok());
    Network same = Small(2, 3);
    const Result<std::string> all = ImportForNewTask(path, same);
    ASSERT_TRUE(all.ok()) << all.status().message();
    EXPECT_EQ(*all, "");
    EXPECT_EQ(ModelHash(same), ModelHash(theirs));

    Network net = Small(2, 7);
    const Network fresh = Small(2, 7);
    const Result<std::string> head = ImportForNewTask(path, net);
    ASSERT_TRUE(head.ok()) << head.status().message();
    EXPECT_EQ(*head, "3");
    const ConstParameterSet now = net.parameters(), old = theirs.parameters();
    for (const size_t i : {0, 1, 2, 3})
      EXPECT_EQ(std::memcmp(now.value(i).data(), old.value(i).data(), now.value(i).bytes()), 0);
    for (const size_t i : {4, 5}) {
      EXPECT_EQ(std::memcmp(now.value(i).data(), fresh.parameters().value(i).data(),
                            now.value(i).bytes()),
                0);
    }
    // A body of another size is no new task.
    Network wide = Small(2, 7, 6);
    const uint64_t before = ModelHash(wide);
    EXPECT_FALSE(ImportForNewTask(path, wide).ok());
    EXPECT_EQ(ModelHash(wide), before);
  }
}

}  // namespace
}  // namespace lockstep
