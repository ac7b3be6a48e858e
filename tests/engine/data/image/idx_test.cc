#include "engine/data/image/idx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

std::string BigEndian(uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i) & 0xFF);
  return text;
}

std::string IdxHeader(int type, const std::vector<uint32_t>& extents) {
  std::string text = BigEndian(static_cast<uint64_t>(type), 3);
  text += static_cast<char>(extents.size());
  for (const uint32_t extent : extents) text += BigEndian(extent, 4);
  return text;
}

class IdxTest : public testing::Test {
 protected:
  std::string File(const std::string& name, const std::string& content) {
    Spill(folder_ / name, content);
    return folder_ / name;
  }
  std::string ErrorOf(const std::string& content, int64_t max_bytes = 1 << 20) {
    const auto array = LoadIdx(File("t.idx", content), max_bytes);
    return array.ok() ? "(no error)" : array.status().message();
  }

  TemporaryFolder folder_;
};

TEST_F(IdxTest, ReadsEveryElementType) {
  const auto load = [&](const std::string& content) {
    return LoadIdx(File("t.idx", content)).value();
  };
  const IdxArray u8 = load(IdxHeader(0x08, {2, 1}) + BigEndian(0x05FF, 2));
  EXPECT_EQ(u8.shape, Shape({2, 1}));
  EXPECT_THAT(std::get<std::vector<uint8_t>>(u8.elements), ElementsAre(5, 255));
  const IdxArray i8 = load(IdxHeader(0x09, {2}) + BigEndian(0x05FF, 2));
  EXPECT_THAT(std::get<std::vector<int8_t>>(i8.elements), ElementsAre(5, -1));
  const IdxArray i16 = load(IdxHeader(0x0B, {2}) + BigEndian(0x0105FFFE, 4));
  EXPECT_THAT(std::get<std::vector<int16_t>>(i16.elements), ElementsAre(261, -2));
  const IdxArray i32 = load(IdxHeader(0x0C, {1, 1, 1, 2}) + BigEndian(0x01020304FFFFFFFF, 8));
  EXPECT_EQ(i32.shape, Shape({1, 1, 1, 2}));
  EXPECT_THAT(std::get<std::vector<int32_t>>(i32.elements), ElementsAre(0x01020304, -1));
  const IdxArray f32 = load(IdxHeader(0x0D, {1}) + BigEndian(std::bit_cast<uint32_t>(-2.5f), 4));
  EXPECT_THAT(std::get<std::vector<float>>(f32.elements), ElementsAre(-2.5f));
  const IdxArray f64 = load(IdxHeader(0x0E, {1}) + BigEndian(std::bit_cast<uint64_t>(1e300), 8));
  EXPECT_THAT(std::get<std::vector<double>>(f64.elements), ElementsAre(1e300));
}

TEST_F(IdxTest, CompressedFilesReadTheSame) {
  std::string content = IdxHeader(0x08, {3, 1000});
  for (int i = 0; i < 3000; ++i) content += static_cast<char>(i * 7);
  SpillGzip(folder_ / "t.gz", content);
  EXPECT_EQ(std::get<0>(LoadIdx(folder_ / "t.gz").value().elements),
            std::get<0>(LoadIdx(File("t.idx", content)).value().elements));
}

TEST_F(IdxTest, HeadersThatDoNotFitAreRefused) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("ends within its first four bytes"));
  EXPECT_THAT(ErrorOf("P5 28 28 255\n"), HasSubstr("not an IDX file"));
  EXPECT_THAT(ErrorOf(IdxHeader(0x0A, {1}) + "x"), HasSubstr("not an IDX file"));
  EXPECT_THAT(ErrorOf(IdxHeader(0x08, {})), HasSubstr("0 dimensions"));
  EXPECT_THAT(ErrorOf(IdxHeader(0x08, {1, 1, 1, 1, 1}) + "x"), HasSubstr("5 dimensions"));
  EXPECT_THAT(ErrorOf(IdxHeader(0x08, {3, 0, 2})), HasSubstr("dimension 1 is 0"));
  EXPECT_THAT(ErrorOf(IdxHeader(0x08, {3, 2}).substr(0, 9)), HasSubstr("ends within its header"));
  EXPECT_THAT(ErrorOf(IdxHeader(0x08, {3}) + "ab"),
              HasSubstr("has 10 bytes, but its header claims 11"));
  EXPECT_THAT(ErrorOf(IdxHeader(0x08, {3}) + "abcd"), HasSubstr("has 12 bytes"));
  // 65536^4 and (2^32 - 1)^4 do not fit 64 bits; 2^31 * 2^31 * 8 neither.
  EXPECT_THAT(ErrorOf(IdxHeader(0x08, {65536, 65536, 65536, 65536})),
              HasSubstr("claims more than"));
  EXPECT_THAT(ErrorOf(IdxHeader(0x08, {~0u, ~0u, ~0u, ~0u})), HasSubstr("claims more than"));
  EXPECT_THAT(ErrorOf(IdxHeader(0x0E, {1u << 31, 1u << 31})), HasSubstr("claims more than"));
  EXPECT_THAT(ErrorOf(IdxHeader(0x0E, {3}) + std::string(24, 'x'), 23), HasSubstr("limit of 23"));
  EXPECT_THAT(ErrorOf(IdxHeader(0x08, {3}) + "abc", 3), HasSubstr("(no error)"));
}

// A compressed file does not tell its size before it is read: memory may only follow what arrives.
TEST_F(IdxTest, AClaimAloneTakesNoMemory) {
  SpillGzip(folder_ / "claim.gz", IdxHeader(0x08, {1u << 31, 3}) + "abc");
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  const auto array = LoadIdx(folder_ / "claim.gz");
  getrusage(RUSAGE_SELF, &after);
  ASSERT_FALSE(array.ok());
  EXPECT_THAT(array.status().message(), HasSubstr("ends after 3 of 6442450944 elements"));
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 64 * 1024);  // kilobytes
}

// The other way round: ten megabytes of zeros in ten kilobytes, where the header claims three.
TEST_F(IdxTest, DataBeyondTheClaimIsNotUnpacked) {
  SpillGzip(folder_ / "bomb.gz", IdxHeader(0x08, {3}) + std::string(10 << 20, '\0'));
  const auto array = LoadIdx(folder_ / "bomb.gz");
  ASSERT_FALSE(array.ok());
  EXPECT_THAT(array.status().message(), HasSubstr("goes on after the 3 elements"));
}

TEST_F(IdxTest, EveryTruncationAndRandomDamageEndInAnError) {
  const std::string images = IdxHeader(0x08, {3, 2, 2}) + "abcdefghijkl";
  for (size_t length = 0; length < images.size(); ++length) {
    EXPECT_THAT(ErrorOf(images.substr(0, length)), HasSubstr("t.idx: ")) << length;
    SpillGzip(folder_ / "t.gz", images.substr(0, length));
    EXPECT_FALSE(LoadIdx(folder_ / "t.gz").ok()) << length;
  }
  SpillGzip(folder_ / "t.gz", images);
  const std::string packed = Slurp(folder_ / "t.gz");
  for (size_t length = 0; length < packed.size(); ++length) {
    EXPECT_FALSE(LoadIdx(File("cut.gz", packed.substr(0, length))).ok()) << length;
  }
  Random random(9, StreamOf("damage"));
  for (int i = 0; i < 500; ++i) {
    // The result may be another valid file; it must come without a crash.
    (void)LoadIdx(File("damaged", Damaged(i % 2 == 0 ? images : packed, random)), 1 << 20);
  }
}

TEST_F(IdxTest, ImagesAndLabelsBecomeADataset) {
  const auto pair = LoadIdxPair(
      File("images", IdxHeader(0x08, {3, 1, 2}) + BigEndian(0x00FF33, 3) + BigEndian(0x010203, 3)),
      File("labels", IdxHeader(0x08, {3}) + BigEndian(0x020002, 3)));
  ASSERT_TRUE(pair.ok()) << pair.status().message();
  const InMemoryDataset& dataset = *pair.value();
  EXPECT_EQ(dataset.info().x_shape, Shape({1, 2, 1}));
  EXPECT_THAT(dataset.info().class_names, ElementsAre("0", "2"));  // those that occur
  EXPECT_THAT(ClassLabels(dataset).value(), ElementsAre(1, 0, 1));
  std::vector<float> x(6);
  ASSERT_TRUE(dataset.Gather(AllIndices(3), Tensor(x.data(), dataset.XShape(3)), {}).ok());
  EXPECT_THAT(x, ElementsAre(0.0f, 1.0f, 0.2f, 1 / 255.0f, 2 / 255.0f, 3 / 255.0f));
}

TEST_F(IdxTest, OtherTypesAndShapesOfImages) {
  const std::string labels = File("labels", IdxHeader(0x0C, {1}) + BigEndian(1, 4));
  const auto vectors =
      LoadIdxPair(File("v", IdxHeader(0x0B, {1, 2}) + BigEndian(0x0007FFFF, 4)), labels).value();
  EXPECT_EQ(vectors->info().x_shape, Shape{2});
  EXPECT_THAT(vectors->StoredX(0).span<float>(), ElementsAre(7.0f, -1.0f));
  const auto colour = LoadIdxPair(File("c", IdxHeader(0x08, {1, 1, 1, 3}) + "abc"), labels).value();
  EXPECT_EQ(colour->info().x_shape, Shape({1, 1, 3}));
  const std::string nan = IdxHeader(0x0D, {1, 1}) + BigEndian(0x7FC00000, 4);
  EXPECT_THAT(LoadIdxPair(File("n", nan), labels).status().message(), HasSubstr("not finite"));
  const std::string large = IdxHeader(0x0E, {1, 1}) + BigEndian(std::bit_cast<uint64_t>(1e300), 8);
  EXPECT_THAT(LoadIdxPair(File("l", large), labels).status().message(),
              HasSubstr("not a finite 32-bit float"));
}

// Whatever type the labels have and wherever they begin.
TEST_F(IdxTest, LabelsOfAnyIntegerTypeAreTheClassesThatOccur) {
  const std::string images = File("images", IdxHeader(0x08, {3, 1, 1}) + "abc");
  const auto of = [&](int type, uint64_t labels, int bytes) {
    return LoadIdxPair(images, File("labels", IdxHeader(type, {3}) + BigEndian(labels, bytes)))
        .value();
  };
  for (const auto& pair :
       {of(0x08, 0x1A011A, 3), of(0x09, 0x1A011A, 3), of(0x0B, 0x001A0001001A, 6)}) {
    EXPECT_THAT(pair->info().class_names, ElementsAre("1", "26"));
    EXPECT_THAT(ClassLabels(*pair).value(), ElementsAre(1, 0, 1));
  }
  const auto pair = LoadIdxPair(images,
                                File("labels", IdxHeader(0x0C, {3}) + BigEndian(70000, 4) +
                                                   BigEndian(0x0000000500000005, 8)),
                                {.class_numbers = {3, 5, 70000}})
                        .value();
  EXPECT_EQ(pair->info().classes, 3);
  EXPECT_THAT(ClassLabels(*pair).value(), ElementsAre(2, 1, 1));
}

// A set of two pictures to train on and one to test with.
class IdxSetTest : public IdxTest {
 protected:
  void Set(const std::vector<std::string>& names, uint64_t train_labels, uint64_t test_label) {
    const std::string labels = BigEndian(train_labels, 2), label = BigEndian(test_label, 1);
    (void)File(names[0], IdxHeader(0x08, {2, 1, 1}) + "ab");
    (void)File(names[1], IdxHeader(0x08, {2}) + labels);
    (void)File(names[2], IdxHeader(0x08, {1, 1, 1}) + "c");
    (void)File(names[3], IdxHeader(0x08, {1}) + label);
  }
};

TEST_F(IdxSetTest, EmnistsLettersCountFromOne) {
  Set({"emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte",
       "emnist-letters-test-images-idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte"},
      0x0103, 3);
  const auto data = LoadMnist(folder_.path());
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_THAT(data->train->info().class_names, ElementsAre("1", "3"));
  EXPECT_THAT(ClassLabels(*data->train).value(), ElementsAre(0, 1));
  EXPECT_THAT(ClassLabels(*data->test).value(), ElementsAre(1));
  EXPECT_THAT(data->remark, HasSubstr("labels 1, 3, which are 2 classes of these names"));
}

TEST_F(IdxSetTest, AClassThatIsOnlyTestedIsSaid) {
  Set({"train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte",
       "t10k-labels.idx1-ubyte"},
      0x0001, 2);
  const auto data = LoadMnist(folder_.path());
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ(data->train->info().classes, 3);
  EXPECT_EQ(data->test->info().classes, 3);
  EXPECT_THAT(data->remark, HasSubstr("1 of the classes occur in"));
}

TEST_F(IdxTest, AFileOfAnotherKindIsCalledByItsName) {
  EXPECT_THAT(ErrorOf("\x93NUMPY and more"), HasSubstr("is a NumPy array (NPY), not an IDX file"));
  EXPECT_THAT(ErrorOf("\x89PNG and more"), HasSubstr("is a PNG picture, not an IDX file"));
}

TEST_F(IdxTest, PairsThatDoNotBelongTogetherAreRefused) {
  const std::string images = File("images", IdxHeader(0x08, {2, 1, 1}) + "ab");
  const auto error = [&](const std::string& labels, const IdxPairOptions& options = {}) {
    return LoadIdxPair(images, File("labels", labels), options).status().message();
  };
  EXPECT_THAT(error(IdxHeader(0x08, {3}) + "abc"), HasSubstr("holds 2 images"));
  EXPECT_THAT(error(IdxHeader(0x08, {2, 1}) + "ab"), HasSubstr("labels have one dimension"));
  EXPECT_THAT(error(IdxHeader(0x09, {2}) + "\x01\xFF"), HasSubstr("label 1 is -1"));
  EXPECT_THAT(error(IdxHeader(0x0D, {2}) + std::string(8, '\0')), HasSubstr("whole numbers"));
  EXPECT_THAT(error(IdxHeader(0x08, {2}) + BigEndian(0x010A, 2), {.class_numbers = {1, 2, 3}}),
              HasSubstr("holds the label 10, and the classes are from 1 to 3"));
  const std::string labels = File("swapped", IdxHeader(0x08, {2}) + "ab");
  EXPECT_THAT(LoadIdxPair(labels, labels).status().message(), HasSubstr("swapped?"));
}

TEST_F(IdxTest, MnistSaysWhichFilesAreMissing) {
  (void)File("train-images-idx3-ubyte", "");
  (void)File("t10k-labels-idx1-ubyte.gz", "");
  const auto data = LoadMnist(folder_.path());
  ASSERT_FALSE(data.ok());
  EXPECT_EQ(data.status().code(), Code::kNotFound);
  EXPECT_THAT(data.status().message(),
              AllOf(HasSubstr("train-labels-idx1-ubyte, t10k-images-idx3-ubyte;"),
                    HasSubstr(folder_.path())));
}

// The facts that shared/data/mnist/README.md states.
TEST_F(IdxTest, MnistIsAsDescribed) {
  LOCKSTEP_NEEDS_REAL_FILE("mnist/train-images-idx3-ubyte.gz");
  const auto loaded = LoadMnist(RealFile("mnist"));
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const auto check = [](const InMemoryDataset& dataset, int64_t size,
                        const std::vector<int64_t>& counts, double mean, double sd) {
    ASSERT_EQ(dataset.size(), size);
    EXPECT_EQ(dataset.info().x_shape, Shape({28, 28, 1}));
    EXPECT_EQ(dataset.info().classes, 10);
    std::vector<int64_t> seen(10);
    const std::vector<int32_t> labels = ClassLabels(dataset).value();
    for (const int32_t label : labels) ++seen[static_cast<size_t>(label)];
    EXPECT_THAT(seen, ElementsAreArray(counts));
    int64_t sum = 0, squares = 0;
    int low = 255, high = 0;
    for (int64_t i = 0; i < size; ++i) {
      for (const uint8_t u : dataset.StoredX(i).span<uint8_t>()) {
        sum += u;
        squares += u * u;
        low = std::min<int>(low, u);
        high = std::max<int>(high, u);
      }
    }
    EXPECT_EQ(low, 0);
    EXPECT_EQ(high, 255);
    const double n = 784.0 * static_cast<double>(size);
    const double average = static_cast<double>(sum) / n / 255.0;
    EXPECT_NEAR(average, mean, 0.51e-5);
    EXPECT_NEAR(std::sqrt(static_cast<double>(squares) / n / 255.0 / 255.0 - average * average), sd,
                0.51e-5);
  };
  check(*loaded.value().train, 60000, {5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949},
        0.13066, 0.30811);
  check(*loaded.value().test, 10000, {980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009},
        0.13251, 0.31048);
}

}  // namespace
}  // namespace lockstep
