#include "engine/io/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Npy(const std::string& dictionary, const std::string& data, int version = 1) {
  const auto length = static_cast<uint32_t>(dictionary.size());
  return std::string("\x93NUMPY") + static_cast<char>(version) + '\0' +
         std::string(reinterpret_cast<const char*>(&length), version == 1 ? 2 : 4) + dictionary +
         data;
}

template <class T>
std::string Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

Result<NpyArray> Parse(const std::string& file) { return ParseNpy(std::as_bytes(std::span(file))); }

TEST(NpyTest, GivesBackWhatItWrote) {
  const TemporaryFolder folder;
  std::vector<double> values(120);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.1 * static_cast<double>(i);
  for (const Shape& shape :
       {Shape{}, Shape{0}, Shape{1}, Shape{7}, Shape{3, 4}, Shape{4, 0, 2}, Shape{2, 3, 1, 5, 4}}) {
    SCOPED_TRACE(shape);
    ASSERT_TRUE(WriteNpy(folder / "file", ConstTensor(values.data(), shape)).ok());
    const Result<NpyArray> array = ReadNpy(folder / "file");
    ASSERT_TRUE(array.ok()) << array.status().message();
    EXPECT_EQ(array->tensor.shape, shape);
    EXPECT_TRUE(std::ranges::equal(array->tensor.view().span<double>(),
                                   std::span(values).first(static_cast<size_t>(shape.size()))));
  }
}

TEST(NpyTest, WritesWhatNumpyWrites) {
  const TemporaryFolder folder;
  const std::vector<float> values = {1.0f, 2.0f, 3.0f};
  ASSERT_TRUE(WriteNpy(folder / "file", ConstTensor(values.data(), Shape{3})).ok());
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
  header.resize(128 - 10 - 1, ' ');
  const std::string content = Slurp(folder / "file");
  EXPECT_EQ(content.size() % 64, 12u);
  EXPECT_EQ(content.substr(10, 57), header.substr(0, 57));
  EXPECT_EQ(content[content.size() - 13], '\n');
  EXPECT_EQ(content.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const std::vector<std::pair<Shape, std::string>> shapes = {
      {Shape{}, "()"}, {Shape{1, 3}, "(1, 3)"}, {Shape{1, 1, 3}, "(1, 1, 3)"}};
  for (const auto& [shape, text] : shapes) {
    ASSERT_TRUE(WriteNpy(folder / "file", ConstTensor(values.data(), shape)).ok());
    EXPECT_THAT(Slurp(folder / "file"), HasSubstr("'shape': " + text + ", }"));
  }
  const BFloat16 narrow{1.0f};
  EXPECT_THAT(WriteNpy(folder / "bf16", ConstTensor(&narrow, Shape{})).message(),
              HasSubstr("convert the tensor to f32"));
  const uint8_t byte = 3;
  ASSERT_TRUE(WriteNpy(folder / "file", ConstTensor(&byte, Shape{})).ok());
  EXPECT_THAT(Slurp(folder / "file"), HasSubstr("'|u1'"));
}

TEST(NpyTest, ReadsAllVersionsSpellingsAndTypes) {
  const std::string data = Bytes<int64_t>({1, -2, 3});
  for (const int version : {1, 2, 3}) {
    for (const char* dictionary :
         {"{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }       \n",
          "{'shape':(3L,),'descr':\"=i8\",'fortran_order':True}",
          "{'fortran_order': False, 'shape': (3, ), 'descr': '<i8'}\n"}) {
      SCOPED_TRACE(dictionary);
      const Result<NpyArray> array = Parse(Npy(dictionary, data, version));
      ASSERT_TRUE(array.ok()) << array.status().message();
      EXPECT_EQ(array->tensor.type, StoredType::kI64);
      std::vector<int32_t> values(3);
      ASSERT_TRUE(ConvertInto(array->tensor, Tensor(values.data(), Shape{3})).ok());
      EXPECT_EQ(values, (std::vector<int32_t>{1, -2, 3}));
    }
  }
  const Result<NpyArray> flags =
      Parse(Npy("{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }", "\x01\x01"));
  ASSERT_TRUE(flags.ok());
  EXPECT_EQ(flags->tensor.type, StoredType::kBool);
}

TEST(NpyTest, FortranOrderIsTransposed) {
  // (2, 3): columns one after the other.
  const Result<NpyArray> matrix =
      Parse(Npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
                Bytes<float>({11, 21, 12, 22, 13, 23})));
  ASSERT_TRUE(matrix.ok());
  EXPECT_THAT(matrix->tensor.view().span<float>(), ::testing::ElementsAre(11, 12, 13, 21, 22, 23));
  // (2, 3, 4), where element (a, b, c) is 100 a + 10 b + c.
  std::vector<int32_t> data;
  for (int c = 0; c < 4; ++c) {
    for (int b = 0; b < 3; ++b) {
      for (int a = 0; a < 2; ++a) data.push_back(100 * a + 10 * b + c);
    }
  }
  const Result<NpyArray> cube = Parse(
      Npy("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3, 4), }", Bytes<int32_t>(data)));
  ASSERT_TRUE(cube.ok());
  const auto values = cube->tensor.view().span<int32_t>();
  for (int i = 0; i < 24; ++i) {
    EXPECT_EQ(values[static_cast<size_t>(i)], 100 * (i / 12) + 10 * (i / 4 % 3) + i % 4);
  }
  EXPECT_TRUE(Parse(Npy("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 0), }", "")).ok());
}

TEST(NpyTest, RefusesWhatItCannotReadAndSaysWhatToDo) {
  const auto says = [](const std::string& dictionary, const std::string& data) {
    const Result<NpyArray> array = Parse(Npy(dictionary, data));
    EXPECT_FALSE(array.ok());
    EXPECT_THAT(array.status().message(), Not(HasSubstr("\n")));
    return array.status().message();
  };
  const std::string rest = "'fortran_order': False, 'shape': (1,), }";
  EXPECT_THAT(says("{'descr': '>f4', " + rest, "0000"), HasSubstr("array.astype('<f4')"));
  EXPECT_THAT(says("{'descr': '|O', " + rest, "0000"), HasSubstr("array.astype"));
  EXPECT_THAT(says("{'descr': '<U5', " + rest, "0000"), HasSubstr("<U5"));
  EXPECT_THAT(says("{'descr': '<c8', " + rest, "00000000"), HasSubstr("<c8"));
  EXPECT_THAT(says("{'descr': [('a', '<f4')], " + rest, "0000"), HasSubstr("records"));
  EXPECT_THAT(says("{'descr': '<f4', " + rest, "000"), HasSubstr("has 3"));
  EXPECT_THAT(says("{'descr': '<f4', " + rest, "00000"), HasSubstr("has 5"));
  const std::string start = "{'descr': '<f4', 'fortran_order': False, 'shape': ";
  EXPECT_THAT(says(start + "(1,1,1,1,1,1)}", "0000"), HasSubstr("more than 5"));
  EXPECT_THAT(says(start + "(4611686018427387904,4)}", ""), HasSubstr("larger than any file"));
  EXPECT_THAT(says(start + "(0,4611686018427387904,4)}", ""), HasSubstr("larger than any file"));
  EXPECT_THAT(says(start + "(9223372036854775808,)}", ""), HasSubstr("wrong shape"));
  EXPECT_THAT(says(start + "(1000000000000,)}", ""), HasSubstr("needs 4000000000000 bytes"));
  for (const char* shape : {"(-1,)}", "1}", "(1", "(1,}", "(1 1)}", "(,)}", "(1.5,)}", "[1]}"}) {
    EXPECT_THAT(says(start + shape, "0000"), HasSubstr("NPY header")) << shape;
  }
  for (const char* bad : {"", "{", "{}", "[]", "{'descr'}", "{'descr': '<f4'}", "{'descr': '<f4",
                          "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}",
                          "{'descr': '<f4', 'fortran_order': 1, 'shape': ()}",
                          "{'descr': '<f4', 'fortran_order': False, 'shape': ()} x",
                          "{'descr': '<f4' 'fortran_order': False, 'shape': ()}",
                          "{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}"}) {
    EXPECT_THAT(says(bad, "0000"), HasSubstr("NPY header")) << bad;
  }
}

TEST(NpyTest, NamesTheFile) {
  const TemporaryFolder folder;
  EXPECT_EQ(ReadNpy(folder / "none").status().code(), Code::kNotFound);
  Spill(folder / "file", "PK\x03\x04");
  EXPECT_THAT(ReadNpy(folder / "file").status().message(),
              AllOf(HasSubstr(folder / "file"), HasSubstr("numpy.save")));
  Spill(folder / "file", "");
  EXPECT_FALSE(ReadNpy(folder / "file").ok());
}

// What remains valid must hold all its promises; the rest is an error and nothing worse.
TEST(NpyTest, DamagedFilesNeverCrash) {
  const TemporaryFolder folder;
  const std::string data = Bytes<float>({1, 2, 3, 4, 5, 6});
  for (const int version : {1, 2}) {
    const std::string good =
        Npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", data, version);
    Spill(folder / "file", good);
    for (size_t size = good.size(); size-- > 0;) {
      EXPECT_FALSE(Parse(good.substr(0, size)).ok());
      std::filesystem::resize_file(folder / "file", size);
      EXPECT_FALSE(ReadNpy(folder / "file").ok());
    }
    for (size_t i = 0; i < good.size() - data.size(); ++i) {
      for (int value = 0; value < 256; ++value) {
        std::string file = good;
        file[i] = static_cast<char>(value);
        const Result<NpyArray> array = Parse(file);
        if (!array.ok()) continue;
        EXPECT_EQ(array->tensor.data.size(), data.size());
        EXPECT_EQ(static_cast<size_t>(array->tensor.shape.size()) * SizeOf(array->tensor.type),
                  data.size());
      }
    }
  }
}

}  // namespace
}  // namespace lockstep
