#include "engine/base/columns.h"

#include <gtest/gtest.h>

namespace lockstep::inline v0_1 {
namespace {

TEST(ColumnsTest, AreAsWideAsTheirWidestCell) {
  EXPECT_EQ(InColumns({{"layer", "count", "note"}, {"ä", "7", ""}, {"b", "1234", "x"}}, 1),
            "layer  count  note\n"
            "ä          7\n"
            "b       1234  x\n");
  EXPECT_EQ(InColumns({}, 1), "");
}

TEST(ColumnsTest, AmountsHaveTwoOrThreeDigits) {
  EXPECT_EQ(BytesText(0), "0 B");
  EXPECT_EQ(BytesText(999), "999 B");
  EXPECT_EQ(BytesText(999.6), "1.0 KB");
  EXPECT_EQ(BytesText(12345), "12.3 KB");
  EXPECT_EQ(BytesText(123456789), "123 MB");
  EXPECT_EQ(BytesText(5e15), "5000 TB");
  EXPECT_EQ(AmountText(877e3, "FLOP"), "877 kFLOP");
  EXPECT_EQ(AmountText(2.5e9, "MAC"), "2.5 GMAC");
}

}  // namespace
}  // namespace lockstep
