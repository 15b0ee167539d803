"""A session of twelve cells: a frame of 80 MB, a fitted model, a plot, things that are changed in place.

`DIE` stands where a test may kill the kernel. Nothing is imported here: other programs run these cells too.
"""

CELLS = {
    "imports": "import numpy as np, pandas as pd\nimport matplotlib.pyplot as plt\n%matplotlib inline\nDIE",
    "frame": "rng = np.random.default_rng(7)\nDIE\nframe = pd.DataFrame(rng.random((1_000_000, 10)), columns=list('abcdefghij'))",
    "settings": "settings = {'alpha': 0.5}\nDIE\nalias = settings",
    "mutated": "settings['seen'] = [1]\nDIE\nsettings['seen'].append(2)\nlen(settings)",
    "view": "DIE\nhead = frame.iloc[:5]\nhead.round(3)",
    "model": "from sklearn.linear_model import LinearRegression\nsmall = frame.iloc[:2000]\nDIE\n"
    "model = LinearRegression().fit(small[['a', 'b']], small['c'])\nmodel",
    "plot": "figure, axes = plt.subplots()\naxes.plot(small['a'][:50])\nDIE\nfigure = axes = None",
    "function": "def scaled(x):\n    return x * settings['alpha']\nDIE\ntotal = scaled(10)",
    "printed": "for n in range(3):\n    print('line', n)\nDIE\nprint('done')",
    "class": "class Point:\n    def __init__(self, x):\n        self.x = x\nDIE\npoints = [Point(n) for n in range(3)]",
    "sum": "DIE\nanswer = float(frame['a'].sum()) + total + sum(p.x for p in points)\nround(answer, 3)",
    "last": "DIE\ncoef = [round(float(c), 6) for c in model.coef_]\n"
    "result = {'answer': answer, 'coef': coef, 'alias': alias is settings}\nresult",
}
