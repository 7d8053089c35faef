from lamina.legacy.preprocessing import image as image
from lamina.legacy.preprocessing import sequence as sequence
from lamina.legacy.preprocessing import text as text
