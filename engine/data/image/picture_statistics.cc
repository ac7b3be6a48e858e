#include "engine/data/image/picture_statistics.h"
