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
#include "layers/arithmetic.h"
#include "layers/container/sequential.h"
#include "layers/dropout.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"
#include "layers/norm/group_norm.h"
#include "layers/norm/layer_norm.h"
#include "layers/norm/rms_norm.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
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

TEST_F(WeightFilesTest, NormsOverAFlattenedPictureHaveTheChannelsInFront) {
  const auto layers = [] {
    return Sequential(Flatten(), BatchNorm(), LayerNorm(), RmsNorm(), GroupNorm(1), Linear(3));
  };
  Network net = Bind(layers(), {2, 2, 3, 4});
  {
    const ParameterWriter writer = net.Write();
    for (size_t p = 0; p < net.store().infos().size(); ++p) {
      Tensor value = writer->value(p);
      for (int64_t i = 0; value.size() == 24 && i < 24; ++i)
        value.f32()[i] = static_cast<float>(100 * p) + Element(0, i / 12, i / 4 % 3, i % 4);
    }
    for (size_t s = 0; s < net.store().states().size(); ++s) {
      Tensor value = net.store().StateToWrite(s);
      for (int64_t i = 0; value.size() == 24 && i < 24; ++i)
        value.f32()[i] = static_cast<float>(1000 + 100 * s) + Element(0, i / 12, i / 4 % 3, i % 4);
    }
  }
  ASSERT_TRUE(ExportWeights(folder_ / "file", net).ok());
  const SafetensorsFile file = ReadSafetensors(folder_ / "file").value();
  int seen = 0;
  for (const StoredTensor& stored : file.tensors) {
    if (stored.shape != Shape{24}) continue;
    ++seen;
    const std::span<const float> values = stored.view().span<float>();
    for (int64_t c = 0; c < 4; ++c)
      for (int64_t h = 0; h < 2; ++h)
        for (int64_t w = 0; w < 3; ++w)
          ASSERT_EQ(values[static_cast<size_t>((c * 2 + h) * 3 + w)] - values[0],
                    Element(0, h, w, c))
              << stored.name;
  }
  EXPECT_EQ(seen, 9);  // weight and bias of three norms and the weight of one, mean and variance

  Network again = Bind(layers(), {2, 2, 3, 4}, 2);
  ASSERT_TRUE(ImportWeights(folder_ / "file", again).ok());
  EXPECT_EQ(ModelHash(again), ModelHash(net));
  for (size_t s = 0; s < net.store().states().size(); ++s) {
    const ConstTensor ours = net.store().state(s), theirs = again.store().state(s);
    EXPECT_EQ(std::memcmp(ours.data(), theirs.data(), ours.bytes()), 0);
  }
}

// x twice, side by side.
class Doubled final : public Layer {
 public:
  std::string kind() const override { return "Doubled"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    return graph.Add(Concatenate(), {x, x});
  }
};

TEST_F(WeightFilesTest, FeaturesWhoseOrderFilesCannotSayAreRefused) {
  const auto refused = [&](Sequential layers, const std::string& name) {
    Network net = Bind(std::move(layers), {2, 2, 3, 4});
    EXPECT_THAT(ExportWeights(folder_ / "file", net).message(), HasSubstr('"' + name + '"'));
    const std::string plain = Written(TensorsOf(net));
    EXPECT_THAT(ImportWeights(plain, net).status().message(), HasSubstr('"' + name + '"'));
  };
  refused(Sequential(Flatten(), GroupNorm(4)), "1.weight");
  refused(Sequential(Flatten(), Doubled(), Relu(), Linear(3)), "3.weight");
  refused(Sequential(Flatten(), Doubled(), BatchNorm()), "2.weight");
  refused(Sequential(Flatten(), Doubled(), Doubled(), LayerNorm()), "3.weight");
  // Of one pixel, of one channel, or no pictures at all, they are in order.
  for (const Shape& input : {Shape{2, 1, 1, 6}, Shape{2, 3, 2, 1}, Shape{2, 6}}) {
    Network net = Bind(Sequential(Flatten(), Doubled(), GroupNorm(4), Linear(3)), input);
    EXPECT_TRUE(ExportWeights(folder_ / "file", net).ok()) << input;
  }
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
    const auto read = ImportWeights(Written(TensorsOf(net, prefix)), other);
    EXPECT_TRUE(read.ok()) << read.status().message();
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
    const auto read = ImportWeights(folder_ / "file", other);
    ASSERT_TRUE(read.ok()) << read.status().message();
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
  EXPECT_THAT(ImportWeights(folder_ / "file", other).status().message(), HasSubstr("\"0.weight\""));
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
  EXPECT_THAT(ImportWeights(Written(tensors), other).status().message(), HasSubstr("is no count"));
  EXPECT_EQ(count_of(other), 7);
  tensors.erase(counter);
  ASSERT_TRUE(ImportWeights(Written(tensors), other).ok());
  EXPECT_EQ(count_of(other), 0);
}

// torch.nn.Linear(bias=False) in front of a norm, read into a network that has a bias there.
TEST_F(WeightFilesTest, ABiasInFrontOfANormMayBeMissing) {
  const auto without = [&](const Network& net, const std::string& name) {
    std::vector<NamedConstTensor> tensors = TensorsOf(net);
    EXPECT_EQ(std::erase_if(tensors, [&](const auto& one) { return one.name == name; }), 1u);
    return Written(tensors);
  };
  const auto layers = [](int norm) {
    return norm == 0   ? Sequential(Linear(4), BatchNorm(), Relu(), Linear(3))
           : norm == 1 ? Sequential(Linear(4), LayerNorm(), Relu(), Linear(3))
           : norm == 2 ? Sequential(Linear(4), GroupNorm(2), Relu(), Linear(3))
                       : Sequential(Linear(4), RmsNorm(), Relu(), Linear(3));
  };
  for (int norm = 0; norm < 4; ++norm) {
    for (const bool training : {true, false}) {
      SCOPED_TRACE(norm);
      const Network net = Bind(layers(norm), {2, 5}, 1);
      Network other = training
                          ? Bind(layers(norm), {2, 5}, 2)
                          : Network::Bind(ctx_, layers(norm), {.input = {2, 5}, .seed = 2}).value();
      const auto read = ImportWeights(without(net, "0.bias"), other);
      ASSERT_TRUE(read.ok()) << read.status().message();
      ASSERT_EQ(read->remarks.size(), 1u);
      EXPECT_THAT(read->remarks[0], HasSubstr("0.bias: not in the file, and 0"));
      const std::string names[] = {other.store().infos()[0].name, other.store().infos()[1].name};
      ASSERT_EQ(names[1], "0.bias");
      for (const float v : other.parameters().value(1).span<float>()) EXPECT_EQ(v, 0.0f);
      const uint64_t before = ModelHash(other);
      for (const std::string name : {"3.bias", "0.weight", "1.weight"}) {
        EXPECT_THAT(ImportWeights(without(net, name), other).status().message(),
                    HasSubstr('"' + name + '"'));
        EXPECT_EQ(ModelHash(other), before);
      }
    }
  }
}

TEST_F(WeightFilesTest, WhatWasMadeGoodIsSaidOnceForEachKind) {
  Network net = Small(1);
  std::vector<NamedConstTensor> tensors = TensorsOf(net, "_orig_mod.");
  std::erase_if(tensors, [](const auto& one) {
    return one.name.ends_with("num_batches_tracked") || one.name == "_orig_mod.0.bias";
  });
  std::vector<StoredTensor> stored(tensors.begin(), tensors.end());
  const std::vector<double> wide(4, 0.5);
  for (StoredTensor& one : stored) {
    if (one.shape == Shape{4})
      one = StoredTensor(one.name, StoredType::kF64, {4}, std::as_bytes(std::span(wide)));
  }
  ASSERT_TRUE(WriteSafetensors(folder_ / "file", stored, {}).ok());
  const auto read = ImportWeights(folder_ / "file", net);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_THAT(read->remarks,
              ElementsAre(HasSubstr("file: all names begin with \"_orig_mod.\""),
                          HasSubstr("1.weight, 1.bias, 1.running_mean and 1 more: F64 in the file"),
                          HasSubstr("1.num_batches_tracked: not in the file, and 0"),
                          HasSubstr("0.bias: not in the file, and 0")));
  EXPECT_THAT(ImportWeights(Written(TensorsOf(net)), net)->remarks, ElementsAre());
}

TEST_F(WeightFilesTest, WhatIsNotFiniteIsNamedAndChangesNothing) {
  Network net = Small(1), other = Small(2);
  const uint64_t before = ModelHash(other);
  const std::vector<NamedConstTensor> good = TensorsOf(net);
  for (size_t i = 0; i < good.size(); ++i) {
    if (good[i].tensor.dtype() != DType::kF32) continue;
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      std::vector<float> values(good[i].tensor.span<float>().begin(),
                                good[i].tensor.span<float>().end());
      values.back() = bad;
      std::vector<NamedConstTensor> tensors = good;
      tensors[i].tensor = ConstTensor(values.data(), good[i].tensor.shape());
      EXPECT_THAT(ImportWeights(Written(tensors), other).status().message(),
                  HasSubstr("tensor \"" + good[i].name + "\" holds"));
      EXPECT_EQ(ModelHash(other), before);
    }
  }
  // Infinite in F16.
  std::vector<StoredTensor> stored(good.begin(), good.end());
  const std::vector<uint16_t> half(20, 0x7C00);
  stored[0] = StoredTensor("0.weight", StoredType::kF16, {4, 5}, std::as_bytes(std::span(half)));
  ASSERT_TRUE(WriteSafetensors(folder_ / "file", stored, {}).ok());
  EXPECT_THAT(ImportWeights(folder_ / "file", other).status().message(),
              HasSubstr("\"0.weight\" holds inf at element 0"));
  // In a model of our own, to begin a new task with.
  {
    const ParameterWriter writer = net.Write();
    writer->value(4).f32()[2] = NAN;
  }
  ASSERT_TRUE(SaveModel(folder_ / "model", net, {}).ok());
  EXPECT_THAT(ImportForNewTask(folder_ / "model", other).status().message(),
              HasSubstr("\"3.weight\" holds nan at element 2"));
  EXPECT_EQ(ModelHash(other), before);
}

TEST_F(WeightFilesTest, AFileOfAnotherKindIsCalledByItsName) {
  Network net = Small(1);
  const std::string name = "archive/data.pkl";
  Spill(folder_ / "model.pt", std::string("PK\x03\x04") + std::string(22, '\0') +
                                  static_cast<char>(name.size()) + std::string(3, '\0') + name +
                                  std::string(100, 'x'));
  EXPECT_THAT(ImportWeights(folder_ / "model.pt", net).status().message(),
              HasSubstr("is a PyTorch file, not a safetensors file"));
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
    const auto read =
        ImportWeights(Written({{"1.bias", {bias.data(), {5}}}, {"1.weight", tensor}}), net);
    EXPECT_THAT(read.status().message(), HasSubstr("the model needs F32 (5, 24)"))
        << tensor.shape();
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
    const Result<ImportedWeights> all = ImportForNewTask(path, same);
    ASSERT_TRUE(all.ok()) << all.status().message();
    EXPECT_EQ(all->fresh_layer, "");
    EXPECT_EQ(ModelHash(same), ModelHash(theirs));

    Network net = Small(2, 7);
    const Network fresh = Small(2, 7);
    const Result<ImportedWeights> head = ImportForNewTask(path, net);
    ASSERT_TRUE(head.ok()) << head.status().message();
    EXPECT_EQ(head->fresh_layer, "3");
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
