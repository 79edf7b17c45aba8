"""Totals of invoices."""


def total(lines, tax_percent=0):
    """Return the total of lines (name, price as text, quantity), with tax."""
    result = 0.0
    for _name, price, quantity in lines:
        result += float(price) * quantity
    return result * (1 + tax_percent / 100)
