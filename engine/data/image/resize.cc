#include "engine/data/image/resize.h"
